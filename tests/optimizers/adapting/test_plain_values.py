from tiltyard.optimizers.adapting.plain_values import plain, redacted, well_formed


class Odd:
    def __str__(self):
        return "odd"


def test_outputs_become_plain_values():
    assert plain({"answer": "x", "n": 3, "list": [1.5], "odd": Odd()}) == {
        "answer": "x",
        "n": 3,
        "list": [1.5],
        "odd": "odd",
    }


def test_half_a_surrogate_pair_becomes_its_escape():
    assert well_formed("a \ud83d") == "a \\ud83d"
    assert well_formed("größer 😀") == "größer 😀"


def test_secrets_are_masked_at_every_depth(monkeypatch):
    monkeypatch.setenv("HOUSE_API_KEY", "open-sesame-42")
    values = {"text": "open-sesame-42", "list": [{"more": ("is open-sesame-42",)}], "n": 3, "none": None}
    assert redacted(values) == {"text": "***", "list": [{"more": ["is ***"]}], "n": 3, "none": None}
