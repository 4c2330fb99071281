"""Finds the words that a product description uses most. Knows nothing of plugins, so plain `unittest` can test it."""

import re
from collections import Counter

# Short words are dropped anyway; these are the longer ones that say nothing about a product.
STOP_WORDS = frozenset(
    """about above after again against also although always another because been before being below between both
    came come could does doing down during each even ever every from further have having here hers herself himself
    into itself just like made make many might more most much must myself never only other ours over same should
    since some such than that their theirs them themselves then there these they this those through under until very
    want well were what when where which while whom will with within without would your yours yourself""".split()
)

TAG = re.compile(r"<[^>]*>?")  # A tag that is never closed reaches to the end.
ENTITY = re.compile(r"&[0-9A-Za-z#]{0,9};")  # `&nbsp;`, `&#8211;`


def keywords(html, limit):
    """The `limit` most frequent words of an HTML text, the most frequent first."""
    if not isinstance(html, str):
        return []
    text = ENTITY.sub(" ", TAG.sub(" ", html)).lower()
    words = "".join(char if is_word_char(char) else " " for char in text).split()
    counts = Counter(word for word in words if is_keyword(word))
    return sorted(counts, key=lambda word: (-counts[word], word))[:limit]


def is_word_char(char):
    # Python knows more digits than these, and its letters leave out the vowel signs of Indian scripts.
    return char.isalpha() or char in "0123456789"


def is_keyword(word):
    return len(word) >= 4 and not word.isdecimal() and word not in STOP_WORDS
