"""How much a rule says: advice that fits every question teaches nothing.

    >>> refusal("Always double-check your answer.")
    "it says nothing that does not go for every question: 'Always double-check your answer.'"
    >>> refusal("Write USD before amounts.") is None
    True

A rule is measured by its words. Words of care, effort and thought, and words for any task's parts, such as
*question* or *answer*, are general; words that carry a sentence count neither way; everything else is
specific: a number, a code, a unit, a subject, a form. One specific word is enough: short rules are good ones.
The list is English: a rule in another language passes.
"""

import re

DEFAULT_MAX_VAGUENESS = 0.8
"""The share of general words up to which a rule is let in: four in five."""

_LOOP = re.compile(r"(.{1,12}?)\1{9,}")
"""Ten times the same few characters: what a model writes that no longer finds the end."""
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_CARRYING_WORDS = """
    a an the and or but if then so as at by for from in into of on to with about it its he she they them
    i me my we us our you your yours this that these those there here be is are was were been being am
    do does did done have has had can could may might must shall should will would let not no don't
    doesn't isn't what which who whose how why when where whether than too very more most much many some
    any all each every both either own same such always never ever none often again once twice thrice
    also just only even still yet up out off over while because
"""
_CARRYING = frozenset(_CARRYING_WORDS.split())
_ADVICE_WORDS = """
    attention attentive aware awareness accurate accurately accuracy appropriate appropriately best
    better careful carefully care cautious caution check checking checked double-check double-checking
    doublecheck recheck re-check clear clearly clarity close closely common complete completely
    comprehensive confident confidence confirm consider considering concise consistent consistently
    correct correctly correctness depend depends detail details detailed diligent diligence ensure
    ensuring error errors evaluate exact exactly examine fail find focus follow following fully general
    generally good great hard helpful identify important importance improve keep know knowledge logic
    logical logically look looking make making mind mindful mistake mistakes necessary need needed pay
    please possible precise precisely precision proper properly quality quickly read reading reread re-
    read reason reasonable reasoning relevant remember review reviewing right scrutinize slow slowly
    sure take taking think thinking thorough thoroughly thought thoughtful time try trying understand
    understanding use useful using validate verify verifying well wisely work wrong avoid assume
    assumption assumptions effort effectively analyze analyse analyzing analysis double apply before
    after first last next finally step-by-step step steps second provide providing respond responding
    answer answers answering answered give giving write writing state get solve solving reconsider
    reflect ask asked asks mean means meaning given
"""
_ADVICE = frozenset(_ADVICE_WORDS.split())
_PARTS_WORDS = """
    answer answers question questions context contexts problem problems task tasks text texts passage
    passages information info input inputs output outputs instruction instructions prompt prompts query
    queries response responses result results solution solutions content data document documents value
    values example examples statement statements thing things everything something anything nothing way
    ways sentence sentences part parts case cases source sources request requests requirement
    requirements user users material rule rules
"""
_PARTS = frozenset(_PARTS_WORDS.split())
_GENERAL = _ADVICE | _PARTS


def vagueness(text: str) -> float:
    """The share of general words among those that count, in [0, 1]; 1 where no word counts."""
    # In a text all of capitals they mark nothing.
    text = text.lower() if text.isupper() else text
    words = [word for word in _WORD.findall(text) if not _is_carrying(word)]
    if not words:
        return 1.0
    return sum(_is_general(word) for word in words) / len(words)


def refusal(text: str, max_vagueness: float = DEFAULT_MAX_VAGUENESS) -> str | None:
    """Why a rule is not let into a playbook; None where it is.

    Beside what is vague, a rule that repeats a few characters over and over is refused: shown in a prompt, it
    makes a small model do the same.

    Args:
        text: The rule.
        max_vagueness: The greatest vagueness that is let in, in [0, 1]. Rules without any specific word, or
            with repetitions, are refused at every setting.
    """
    if loop := _LOOP.search(text):
        return f"it repeats {loop[1]!r} over and over: {text[:80]!r}"
    vague = vagueness(text)
    if vague == 1.0:
        return f"it says nothing that does not go for every question: {text!r}"
    if vague > max_vagueness:
        return f"it is vague ({vague:.2f}, and {max_vagueness:.2f} is let in): {text!r}"
    return None


def _is_carrying(word: str) -> bool:
    return word.lower() in _CARRYING and not _is_code(word)


def _is_general(word: str) -> bool:
    return word.lower().replace("’", "'") in _GENERAL and not _is_code(word)


def _is_code(word: str) -> bool:
    """Whether capitals mark a code, such as ``IT`` or ``USD``; ``A`` and ``I`` are words."""
    return len(word) > 1 and word.isupper()
