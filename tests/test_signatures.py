from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field

from tiltyard.errors import InputError
from tiltyard.signatures import Content, check_node


def existing(path: str) -> str:
    if path == "missing":
        raise ValueError("there is no file 'missing'")
    return path


@dataclass
class Inner:
    size: Annotated[int, Field(ge=1)] = 1


@dataclass
class Outer:
    """A target with every kind of option."""

    name: str
    mode: Literal["a", "b"] = "a"
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    inner: Inner | None = None
    many: tuple[float, ...] = ()
    data: Annotated[str | None, AfterValidator(lambda path: path), Content(str.upper)] = None
    file: Annotated[str, AfterValidator(existing)] = "x"


OUTER = {"_target_": f"{__name__}.Outer", "name": "n"}
INNER = {"_target_": f"{__name__}.Inner"}


def untyped(metric=None, k=16, threshold=0.5, flag=False, anything=None):
    """A target without annotations, as many libraries have them."""


UNTYPED = {"_target_": f"{__name__}.untyped"}


def refusal(node: dict, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        check_node(node, "axis", **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_good_node_yields_its_leaves():
    leaves = {leaf.path: leaf for leaf in check_node(OUTER | {"data": "d", "many": [1, 2.5]}, "axis")}
    assert leaves["axis.many"].value == [1, 2.5]
    assert leaves["axis.data"].content.digest("d") == "D"
    assert leaves["axis.name"].content is None


def test_a_misspelt_key_is_named_with_the_right_one():
    error = refusal(OUTER | {"naem": "x"})
    assert "unknown key 'axis.naem'" in str(error)
    assert "did you mean 'name'?" in str(error)


def test_a_missing_option_is_named():
    assert "axis.name is not set" in str(refusal({"_target_": f"{__name__}.Outer"}))
    assert "axis.name is not set; add axis.name=VALUE" in str(refusal(OUTER | {"name": "???"}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", 3, "valid string"),
        ("mode", "c", "'a' or 'b'"),
        ("rate", "0.5", "valid number"),
        ("rate", True, "valid number"),
        ("rate", 0, "greater than 0"),
        ("rate", 1.5, "less than or equal to 1"),
        ("many", [1, "x"], "valid number"),
        ("file", "missing", "there is no file 'missing'"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(key, value, words):
    error = refusal(OUTER | {key: value})
    assert f"axis.{key}" in str(error)
    assert words in str(error)


def test_nodes_inside_nodes_are_checked():
    assert "axis.inner.size=0" in str(refusal(OUTER | {"inner": INNER | {"size": 0}}))
    assert "axis.many[1].size=0" in str(refusal(OUTER | {"many": [INNER, INNER | {"size": 0}]}))


@pytest.mark.parametrize(
    ("key", "value"), [("k", "many"), ("k", -1), ("k", 2.5), ("threshold", "high"), ("flag", "maybe")]
)
def test_an_option_without_annotation_has_the_type_of_its_default(key, value):
    assert f"axis.{key}=" in str(refusal(UNTYPED | {key: value}))


def test_an_option_without_annotation_and_default_takes_anything():
    check_node(UNTYPED | {"anything": {"a": [1]}, "k": None}, "axis", supplied=("metric",))


def test_a_supplied_argument_need_not_be_given():
    node = {"_target_": f"{__name__}.Outer"}
    assert check_node(node, "axis", supplied=("name",)) == []


def test_a_partial_may_lack_arguments():
    assert check_node({"_target_": f"{__name__}.Outer", "_partial_": True}, "axis") == []


@pytest.mark.parametrize("name", ["no.such.module", "tiltyard.nothing", "tiltyard.__version__", 3, None])
def test_a_target_that_is_none(name):
    refusal({"_target_": name})


def test_a_secret_is_refused():
    error = refusal(OUTER | {"api_key": "sk-123"})
    assert "environment variable" in str(error)
    assert "sk-123" not in str(error)
