import pytest

from tiltyard.launching.hydra_errors import explain


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("modle=lexical", "unknown key 'modle'; did you mean 'model'?"),
        ("model=lexicl", "no option 'lexicl' in group 'model'; did you mean 'lexical'?"),
        ("model=", "no option '' in group 'model'; choose one of: "),
        ("nogroup/x=y", "nogroup/x"),
        ("optimizer.kk=3", "unknown key 'optimizer.kk'; it takes no keys"),
        ("hardware.devcie=cpu", "did you mean 'device'?"),
        ("hydra.launcher.worker=2", "did you mean 'workers'?"),
        ("seed.x=3", "unknown key 'seed.x'"),
        ("task=a=b", "cannot read 'task=a=b'"),
        ("model=[a", "cannot read 'model=[a'"),
        ("model=a,b", "'model=a,b' gives several values to a single run; add -m to run every combination"),
        ("seed=range(3)", "'seed=range(3)' gives several values to a single run; add -m"),
    ],
)
def test_hydras_refusals_become_one_line(override, words, composed):
    with pytest.raises(Exception) as caught:
        composed(override)
    explained = explain(caught.value)
    assert explained is not None
    assert words in str(explained)
    assert "\n" not in str(explained)


def test_other_errors_are_not_explained():
    assert explain(ValueError("a bug")) is None
