"""The JSON Schemas that ship with the package."""

from __future__ import annotations

from importlib.resources import files

from sgldoctor.errors import UsageError, did_you_mean

_ENDING = ".schema.json"


def schema_text(name: str) -> str:
    """Return the JSON Schema of a document, such as ``check``.

    Raises:
        UsageError: no document of that name has a schema.
    """
    entries = files("sgldoctor").joinpath("schemas").iterdir()
    schemas = {entry.name.removesuffix(_ENDING): entry for entry in entries if entry.name.endswith(_ENDING)}
    if name not in schemas:
        names = sorted(schemas)
        raise UsageError(f"There is no schema {name!r}.{did_you_mean(name, names)} Known: {', '.join(names)}")
    return schemas[name].read_text("utf-8")
