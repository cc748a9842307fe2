"""The literal texts in a pattern: where none of them stands, the pattern need not be tried."""

from __future__ import annotations

import re

SHORTEST = 3
"""Letters of a literal that is worth looking for."""
_QUANTIFIER = r"(?:[*?+]\??|\{\d+(?:,\d*)?\}\??)"
_CLASS = re.compile(rf"\[\^?\]?[^\]]*\]{_QUANTIFIER}?")
_GROUP = re.compile(rf"\([^()]*\){_QUANTIFIER}?")
_NO_LITERAL = re.compile(rf"\\[a-zA-Z]{_QUANTIFIER}?|[^\0]{_QUANTIFIER}|[.^$]")
_ESCAPED = re.compile(r"\\([^a-zA-Z0-9])")
_STRANGE = re.compile(r"\(\?[a-zA-Z]*i|\\[pPxQC0-9]")
_ASIDE = 0xE000
"""Where escaped characters are kept meanwhile, so that they look like letters."""
_KEPT = re.compile(r"[\ue000-\ue0ff]")


def literals(pattern: str) -> tuple[str, ...]:
    """Return texts of which one stands in every line that the pattern matches; none where that is not known."""
    if _STRANGE.search(pattern):
        return ()
    rest = _CLASS.sub("\0", _ESCAPED.sub(lambda found: chr(_ASIDE + ord(found[1])), pattern))
    while rest != (rest := _GROUP.sub("\0", rest)):
        pass
    if "(" in rest:
        return ()
    found = [_longest(branch) for branch in rest.split("|")]
    return tuple(found) if min(map(len, found)) >= SHORTEST else ()


def _longest(branch: str) -> str:
    text = max(_NO_LITERAL.sub("\0", branch).split("\0"), key=len)
    return _KEPT.sub(lambda found: chr(ord(found[0]) - _ASIDE), text)
