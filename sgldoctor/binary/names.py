"""C++ names as people write them."""

from __future__ import annotations

from itanium_demangler import parse


def demangled(name: str) -> str:
    """Return a mangled C++ name in C++ (``c10::cuda::SetDevice(signed char, bool)``), any other name as it is."""
    try:
        tree = parse(name) if name.startswith("_Z") else None
    except (NotImplementedError, ValueError, IndexError, KeyError, AttributeError, TypeError, RecursionError):
        return name
    return str(tree) if tree is not None else name
