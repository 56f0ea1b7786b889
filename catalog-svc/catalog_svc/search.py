"""The words of a marketplace search."""

import re

_WORD = re.compile(r"\w+")


def words_of(query: str) -> list[str]:
    """The words in what somebody typed, without anything that means something to to_tsquery()."""
    return _WORD.findall(query)
