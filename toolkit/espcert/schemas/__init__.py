"""JSON Schemas (2020-12) of what the verbs print with `--json`, one file an object."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

_SUFFIX = ".json"


def names() -> list[str]:
    """The objects that have a schema: the verbs, and `error`."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))


def load(name: str) -> dict[str, Any]:
    """The schema of one object. Raises KeyError for a name that `names` does not list."""
    if name not in names():
        raise KeyError(name)
    text = resources.files(__name__).joinpath(name + _SUFFIX).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
