"""The contents of a partition as files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePath
from typing import Any, Final

from espcert import encoding, files
from espcert.errors import FileError, UsageError
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item

INDEX_NAME: Final = "items.json"
_NAMED: Final = frozenset({*kinds.CERTIFICATES, kinds.PRIVATE_KEY})
_SUFFIXES: Final = {
    encoding.PEM: ".pem",
    encoding.DER: ".der",
    encoding.UNKNOWN: ".bin",
}


def directories_for(names: list[str], base: Path) -> dict[str, Path]:
    """The directory of each IMAGE below `base`, by its name without suffix.

    Raises UsageError where two would share one.
    """
    result: dict[str, Path] = {}
    taken: set[str] = set()  # in one case: some file systems do not tell A from a
    for name in names:
        stem = "stdin" if name == files.STDIN else PurePath(name).stem
        directory = base / (stem if stem.strip(".") else "image")
        if directory.name.casefold() in taken:
            raise UsageError(
                "same-directory",
                f"{name}: two IMAGEs would be extracted to {directory}; take one at a time",
            )
        taken.add(directory.name.casefold())
        result[name] = directory
    return result


def extract(contents: Contents, directory: Path, *, force: bool = False) -> list[Path]:
    """Write every item and an index that makes them exact; PEM goes without its final NUL.

    All files are created 0600. Raises UsageError where a file exists (and not `force`), FileError
    where the system refuses.
    """
    records = []
    payloads: dict[str, bytes] = {}
    uses: Counter[str] = Counter()
    for item in contents.items:
        name = _numbered(_file_name(item), uses)
        payload, record = _file(item)
        payloads[name] = payload
        records.append({"file": name} | record)
    index = {"layout": contents.layout, "items": records}
    payloads[INDEX_NAME] = (json.dumps(index, indent=2) + "\n").encode()
    _make_directory(directory)
    targets = {directory / name: payload for name, payload in payloads.items()}
    for target in targets:
        files.check_output(target, force=force)
    for target, payload in targets.items():
        files.write_atomically(target, payload, force=force)
    return list(targets)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError("not-a-directory", f"{directory}: is not a directory") from error
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("write-failed", f"{directory}: cannot be created: {reason}") from error


def _file_name(item: Item) -> str:
    if item.kind not in _NAMED:
        return f"{item.kind}_{item.index}.bin"
    number = f"_{item.index}" if item.index else ""
    return f"{item.kind}{number}{_SUFFIXES[encoding.encoding_of(item.data)]}"


def _numbered(name: str, uses: Counter[str]) -> str:
    """The name, with a number for a second entry of one type and subtype."""
    uses[name] += 1
    path = PurePath(name)
    return name if uses[name] == 1 else f"{path.stem}.{uses[name]}{path.suffix}"


def _file(item: Item) -> tuple[bytes, dict[str, Any]]:
    found = encoding.encoding_of(item.data)
    is_pem = item.kind in _NAMED and found == encoding.PEM
    payload = item.data.removesuffix(b"\0") if is_pem else item.data
    return payload, {
        "kind": item.kind,
        "index": item.index,
        "length": len(item.data),
        "nul": payload != item.data,
        "encoding": found if item.kind in _NAMED else None,
        "intact": item.intact,
        "flags": item.flags,
    }
