"""Whether two rules say the same in nearly the same words.

    >>> same_rule("Write USD before amounts.", "Before the amounts, please put USD.")
    True
    >>> same_rule("Write USD before amounts.", "Write EUR before amounts.")
    False

Two rules are often one word apart and opposite, so likeness alone cannot tell. Here every word counts, in its
order, but for a few that only carry a sentence.
"""

from functools import lru_cache

_CARRYING_WORDS = """
    a an the please always should must shall will would is are be do does you your we our it its this that
    these those there here all any each every when whenever if then also just simply so
"""
_CARRYING = frozenset(_CARRYING_WORDS.split())
"""Words that a rule can be said with or without. None of them denies, orders or places anything."""
_SAYING_WORDS = "write put give show state use say set place render express print output type"
_SAYING = frozenset(_SAYING_WORDS.split())
"""Words for the act of writing an answer, where they begin a clause: a ``type`` may also be a thing."""
_BEFORE_A_CLAUSE = frozenset({"please", "always", "never", "not", "should", "must", "shall", "will", "then"})
_SAID = "write"
_STOPS = ".,;:!?"
_QUOTES = "\"'`“”‘’«»"


@lru_cache(maxsize=8_192)
def content_words(rule: str) -> tuple[str, ...]:
    """The words of a rule that decide what it says, in order.

    Quotes, the marks at the ends of words and the capital at the beginning do not count. Nor do
    ``always``, articles and the like, and words for writing count as one. Numbers, capitals, brackets
    and what stands within a word do count: ``day.month.year`` is not ``day/month/year``.
    """
    words: list[str] = []
    before = ""
    for raw in rule.split():
        begins = not before or before[-1] in _STOPS
        bare = raw.strip(_QUOTES).rstrip(_STOPS).strip(_QUOTES)
        # A quoted word is meant; capitals are a code, and a single one within a sentence an option's letter.
        meant = raw[0] in _QUOTES or (bare.isupper() and (len(bare) > 1 or not begins))
        if not bare:
            # A sign by itself, such as the comma of "separate thousands by ,".
            words.append(raw.strip(_QUOTES) or raw)
        elif meant or bare.lower() not in _CARRYING:
            word = bare[0].lower() + bare[1:] if begins and not bare.isupper() else bare
            acts = word in _SAYING and (begins or before.lower() in _BEFORE_A_CLAUSE)
            words.append(_SAID if acts else word)
        before = raw
    return tuple(words)


def same_rule(one: str, other: str) -> bool:
    """Whether two rules have the same content words in the same order.

    The order may differ by what stands first, if a comma divides a rule: "Before amounts, write USD." says
    the same as "Write USD before amounts.".
    """
    first, second = content_words(one), content_words(other)
    if first == second:
        # Rules without any word that counts are the same where they are the same text.
        return bool(first) or one.split() == other.split()
    if len(first) != len(second) or not ("," in one or "," in other):
        return False
    return any(first[turn:] + first[:turn] == second for turn in range(1, len(first)))
