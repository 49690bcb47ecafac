"""Records that name no module: what would tell who it is becomes a digest, everywhere."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from espcert.catalogue import CATALOGUE
from espcert.text import printable

Record = Mapping[str, Any]

LEFT_OUT: Final = "left out, as it may name the module"
_DIGEST: Final = "redacted-"
_OF_FILES: Final = (2, 4)
"""Exit codes of what can be said of any file."""
_NAME: Final = re.compile(r"\b(CN|OU?|C|L|ST|DC|UID|STREET|SERIALNUMBER|[0-9]+(\.[0-9]+)+)=", re.I)
_PATHS: Final = ("source", "output", "id")
_IDENTITY: Final = ("subject", "serial")
_KEPT_LABELS: Final = ("esp_secure_cert", "pre_prov")
_OF_ROWS: Final = ("table-row", "table-overlap", "several_partitions")
"""Codes whose messages name rows of the partition table, whose labels no field holds."""
_FILES: Final = ("hmac_keys", "ca", "signing_key", "key_password", "output", "directory")


def digest(text: str) -> str:
    """What stands for a text: the same for the same, in every report.

    Whoever can guess a text can tell that it was this one; nobody can compute it.
    """
    hashed = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_DIGEST}{hashed[:16]}"


def redact(record: Record) -> dict[str, Any]:
    """A record in which paths, ids, subjects and serials are digests, inside messages, too.

    A message that may still hold a name gives way to what its code means in general.
    """
    hidden = _hidden(record)
    shown = {name: value for name, value in record.items() if name != "names"}
    shown["findings"] = [_finding(finding, hidden) for finding in record["findings"]]
    for name in (*_PATHS, *_IDENTITY):
        if shown.get(name) is not None:
            shown[name] = digest(record[name])
    if _labels(record):
        shown["label"] = digest(record["label"])
    for name in ("evidence", "changes", "reason", "flash_command", "partition_table"):
        if name in shown:
            shown[name] = _texts(record[name], hidden)
    return _errors(shown, hidden) | {"names": [digest(name) for name in record["names"]]}


def _errors(shown: dict[str, Any], hidden: list[tuple[str, str]]) -> dict[str, Any]:
    if "error" in shown:
        error = shown["error"]
        message = _text(error["message"], hidden)
        # What is not about the image is about another file, whose name may be the module's.
        of_files = shown["exit_code"] in _OF_FILES and not message.startswith(_DIGEST)
        if of_files or error["code"] in _OF_ROWS:
            message = LEFT_OUT
        shown["error"] = error | {"message": message}
    if shown.get("items"):
        names = ("subject", "issuer", "serial")
        shown["items"] = [
            item | {name: digest(item[name]) for name in names if item.get(name)}
            for item in shown["items"]
        ]
    return shown


def _hidden(record: Record) -> list[tuple[str, str]]:
    """Texts that must not be seen, and what stands for them; the longest first."""
    texts = {*record["names"], *(record.get(name) for name in (*_PATHS, *_IDENTITY))}
    texts |= _labels(record)
    for name in ("source", "output"):
        texts |= _forms(record.get(name))
    texts |= {item.get(name) for item in record.get("items", ()) for name in ("subject", "issuer")}
    found = [text for text in texts if text]
    return [(text, digest(text)) for text in sorted(found, key=len, reverse=True)]


def _labels(record: Record) -> set[str]:
    """The partition's label, or the one that was asked for, where it may be a customer's."""
    label = record.get("label")
    return set() if label in (None, *_KEPT_LABELS) else {label, printable(label)}


def _forms(path: str | None) -> set[str | None]:
    """A path as messages may show it."""
    if path is None:
        return set()
    return {path, os.path.abspath(path), Path(path).name, Path(path).stem, str(Path(path).parent)}  # noqa: PTH100


def _finding(finding: Mapping[str, Any], hidden: list[tuple[str, str]]) -> dict[str, Any]:
    message = _replaced(finding["message"], hidden)
    if _NAME.search(message) or finding["code"] in _OF_ROWS:
        message = CATALOGUE[finding["code"]].meaning
    return {**finding, "message": message}


def _texts(value: Any, hidden: list[tuple[str, str]]) -> Any:
    """A text, or all that a list or an object holds."""
    if isinstance(value, dict):
        return {name: _texts(one, hidden) for name, one in value.items()}
    if isinstance(value, list):
        return [_texts(one, hidden) for one in value]
    return None if value is None else _text(value, hidden)


def _text(text: str, hidden: list[tuple[str, str]]) -> str:
    shown = _replaced(text, hidden)
    suspect = _NAME.search(shown) or "/" in shown or "\\" in shown
    return LEFT_OUT if suspect else shown


def _replaced(text: str, hidden: Iterable[tuple[str, str]]) -> str:
    for found, instead in hidden:
        if len(found) > 2:
            text = text.replace(found, instead)
    return text


def redact_across(finding: Record) -> dict[str, Any]:
    """A finding across the fleet whose sources are digests."""
    return {**finding, "sources": [digest(source) for source in finding["sources"]]}


def redact_header(header: Record) -> dict[str, Any]:
    """A run's header without the paths among its options."""
    options = dict(header["options"])
    options["sources"] = [digest(name) for name in options.get("sources", ())]
    if options.get("label") not in (None, *_KEPT_LABELS):
        options["label"] = digest(options["label"])
    for name in _FILES:
        value = options.get(name)
        if value:
            options[name] = digest(value) if isinstance(value, str) else [*map(digest, value)]
    return {**header, "options": options, "redacted": True}
