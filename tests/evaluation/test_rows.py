import csv
import threading
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.evaluation.rows import COLUMNS, Row, RowWriter, read_rows, write_rows


def a_row(**values):
    blank = {field.name: "" if field.type is str else 0 for field in fields(Row)}
    return Row(**{**blank, **values})


def test_the_columns_are_the_contract():
    assert ",".join(COLUMNS) == (
        "model_id,task_name,domain,mode,sample_id,gold,pred,latency_ms,question,context,correct,score,split,"
        "epoch,finish_reason,error,reflection_latency_ms,reflected,prompt_tokens,completion_tokens,cached"
    )


def test_a_row_is_on_disk_when_add_returns(tmp_path):
    path = tmp_path / "new" / "predictions.csv"
    with RowWriter(path) as rows:
        assert read_rows(path).empty
        rows.add(a_row(sample_id="1"))
        assert list(read_rows(path).sample_id) == ["1"]


def test_a_clean_exit_leaves_the_given_order(tmp_path):
    path = tmp_path / "predictions.csv"
    with RowWriter(path, order=["a", "b", "c"]) as rows:
        for sample in ("c", "a", "b"):
            rows.add(a_row(sample_id=sample))
        assert list(read_rows(path).sample_id) == ["c", "a", "b"]

    assert list(read_rows(path).sample_id) == ["a", "b", "c"]
    assert [row.sample_id for row in rows.rows] == ["a", "b", "c"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_run_keeps_its_rows(tmp_path):
    path = tmp_path / "predictions.csv"

    def interrupted():
        with RowWriter(path, order=["a", "b"]) as rows:
            rows.add(a_row(sample_id="b"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(read_rows(path).sample_id) == ["b"]


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "predictions.csv"
    write_rows(path, [a_row(sample_id="old")])
    with RowWriter(path) as rows:
        rows.add(a_row(sample_id="new"))

    assert list(read_rows(path).sample_id) == ["new"]


def test_threads_share_a_writer(tmp_path):
    path = tmp_path / "predictions.csv"
    order = [str(number) for number in range(400)]
    with RowWriter(path, order) as rows:

        def work(start):
            for number in range(start, 400, 8):
                rows.add(a_row(sample_id=str(number), pred=f"line\n{number}" * 50))

        threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    frame = read_rows(path)
    assert list(frame.sample_id) == order
    assert all(frame.pred == [f"line\n{number}" * 50 for number in order])


def test_text_that_looks_like_something_else_stays_text(tmp_path):
    path = tmp_path / "predictions.csv"
    texts = ["007", "NA", "null", "", "1e5", "True", "2020-01-01", "=1+1", " padded ", "#"]
    write_rows(path, [a_row(sample_id=text, gold=text, pred=text) for text in texts])

    frame = read_rows(path)
    assert list(frame.gold) == list(frame.pred) == list(frame.sample_id) == texts


def test_numbers_come_back_as_numbers(tmp_path):
    path = tmp_path / "predictions.csv"
    write_rows(path, [a_row(score=0.1 + 0.2, latency_ms=12.5, prompt_tokens=7)])

    row = read_rows(path).iloc[0]
    assert (row.score, row.latency_ms, row.prompt_tokens) == (0.1 + 0.2, 12.5, 7)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=3), special=st.sampled_from("\r\n\"',;\0\ufeff\u2028"))
def test_any_text_round_trips(tmp_path_factory, texts, special):
    path = tmp_path_factory.mktemp("rows") / "predictions.csv"
    rows = [a_row(pred=text + special, context=special + text) for text in texts]
    write_rows(path, rows)

    frame = read_rows(path)
    assert list(frame.pred) == [row.pred for row in rows]
    assert list(frame.context) == [row.context for row in rows]
    with path.open(newline="", encoding="utf-8") as file:
        assert [row["pred"] for row in csv.DictReader(file)] == [row.pred for row in rows]


def test_half_a_surrogate_pair_is_escaped_instead_of_losing_the_row(tmp_path):
    path = tmp_path / "predictions.csv"
    with RowWriter(path) as rows:
        rows.add(a_row(pred="broken \ud83d emoji"))

    assert list(read_rows(path).pred) == ["broken \\ud83d emoji"]
