"""How an answer's text becomes the symbol that is counted."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_WORD = re.compile(r"[^\W_]+(?:['\-][^\W_]+)*")


def normalised(text: str) -> str:
    """Return ``text`` in NFKC, lower case, with straight quotes and single spaces."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold()
    return " ".join(plain.split())


def first_word(text: str) -> str:
    """Return the first word of ``text``, normalised; what else stands there if there is no word, ``""`` if nothing."""
    plain = normalised(text)
    found = _WORD.search(plain)
    return found.group() if found else plain


def holds(text: str, phrase: str) -> bool:
    """Return whether ``text`` holds ``phrase`` as whole words; both must be normalised.

    Scripts that write no spaces have no word borders: there the phrase may stand inside a run of characters.
    """
    if not phrase:
        return False
    left = r"(?<!\w)" if _spaced(phrase[0]) else ""
    right = r"(?!\w)" if _spaced(phrase[-1]) else ""
    return re.search(left + re.escape(phrase) + right, text) is not None


def _spaced(character: str) -> bool:
    """Whether the character belongs to a script that separates words by spaces."""
    if not character.isalnum():
        return False
    name = unicodedata.name(character, "")
    return not name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
