"""C++ names as people write them."""

from __future__ import annotations

import re

from itanium_demangler import parse

# A reference repeats any part of the name before it, so a short one can stand for gigabytes. The longest name that a
# kernel asks torch for has 161 characters and 9 references.
_LONGEST, _MOST_REFERENCES = 500, 16
_REFERENCE = re.compile(r"[ST][0-9A-Z]*_")
# c10::Error::{base ctor}, c10::Error::{dtor}
_CONSTRUCTOR, _DESTRUCTOR = re.compile(r"(\w+)::\{(?:\w+ )?ctor\}"), re.compile(r"(\w+)::\{(?:\w+ )?dtor\}")


def demangled(name: str) -> str:
    """Return a mangled C++ name in C++ (``c10::cuda::SetDevice(signed char, bool)``), any other name as it is."""
    if not name.startswith("_Z") or len(name) > _LONGEST or len(_REFERENCE.findall(name)) > _MOST_REFERENCES:
        return name
    try:
        # The parser does not tell a const method's return type from its arguments.
        const = name.startswith("_ZNK")
        tree = parse(f"_ZN{name[4:]}" if const else name)
        text = name if tree is None else f"{tree} const" if const else str(tree)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        return name
    return _DESTRUCTOR.sub(r"\1::~\1", _CONSTRUCTOR.sub(r"\1::\1", text))
