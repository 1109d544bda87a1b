import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.evaluation.clusters import are_grouped, clustered_mean, contexts, labels_of


def test_rows_with_the_same_context_form_a_cluster():
    rows = pd.DataFrame(
        {"sample_id": ["a", "b", "c", "d", "a"], "context": ["table 1", "table 1", "", "", "table 1"]}
    )
    found = contexts(rows)

    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"] == found["b"]
    assert len(set(found.values())) == 3


def test_an_id_is_no_context():
    rows = pd.DataFrame({"sample_id": ["a", "b"], "context": ["b", ""]})
    assert len(set(contexts(rows).values())) == 2


def test_a_sample_that_has_no_cluster_gets_its_own():
    assert len(set(labels_of(["a", "b", "c"], {"a": 1, "b": 1}))) == 2


@pytest.mark.parametrize(
    ("labels", "grouped"),
    [([], False), (["a"], False), (["a", "b"], False), (["a", "a"], False), (["a", "a", "b"], True)],
)
def test_clusters_matter_where_there_are_several_of_several(labels, grouped):
    assert are_grouped(labels) is grouped


def cr2(values, labels):
    """CR2 and Bell and McCaffrey's degrees of freedom by their matrices, for a regression on a constant."""
    number = np.unique(labels, return_inverse=True)[1]
    size, clusters = len(values), number.max() + 1
    ones = np.ones((size, 1))
    residual = np.eye(size) - ones @ ones.T / size
    columns, variance = [], 0.0
    for cluster in range(clusters):
        of_cluster = residual[number == cluster]
        values_of, vectors = np.linalg.eigh(of_cluster[:, number == cluster])
        root = vectors @ np.diag(values_of**-0.5) @ vectors.T
        column = of_cluster.T @ root @ ones[number == cluster] / size
        columns.append(column)
        variance += float((column.T @ values).item() ** 2)
    products = np.hstack(columns).T @ np.hstack(columns)
    return variance, np.trace(products) ** 2 / np.trace(products @ products)


@pytest.mark.parametrize("labels", ["aabbcc", "aaaabbc", "abcdef", "aaab", "aabbbbcddddd"])
def test_the_variance_and_its_freedom_are_those_of_the_matrix_formulas(labels):
    values = np.random.default_rng(0).random(len(labels))
    found = clustered_mean(values, labels)
    variance, freedom = cr2(values, list(labels))

    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx(variance)
    assert found.freedom == pytest.approx(freedom)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=2, max_size=30))
def test_a_mean_has_fewer_degrees_of_freedom_than_clusters(pairs):
    labels, values = zip(*pairs, strict=True)
    if len(set(labels)) < 2:
        return
    found = clustered_mean(np.array(values), labels)
    count = len(set(labels))

    assert found.clusters == count
    assert 1 <= found.effective <= count + 1e-9
    assert 1 - 1e-9 <= found.freedom <= count - 1 + 1e-9
    assert found.variance >= 0


def test_clusters_of_one_are_the_textbooks_mean():
    values = np.array([0.1, 0.7, 0.4, 1.0])
    found = clustered_mean(values, "abcd")

    assert found.variance == pytest.approx(values.var(ddof=1) / 4)
    assert found.freedom == pytest.approx(3)
    assert found.effective == pytest.approx(4)
