"""Manifests: tables of images with the keys of each module, as CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from espcert import opening
from espcert.chips import CHIPS
from espcert.errors import FileError, UsageError
from espcert.files import reason_of
from espcert.fleet import places
from espcert.fleet.task import Source

IMAGE: Final = "image"
KEYS: Final = ("hmac_key", "efuse", "flash_encryption_key", "nvs_keys")
"""Columns that name files with keys."""
_TEXTS: Final = ("id", "label", "chip", "output")
_ADDRESS: Final = "flash_address"
COLUMNS: Final = (IMAGE, *_TEXTS, *KEYS, _ADDRESS)
ENCODING: Final = "utf-8-sig"
"""That of manifests and lists, which programs on Windows begin with a byte order mark."""
_KEY: Final = re.compile(r"(0[xX])?([0-9a-fA-F]{2}[ :]?){16,}", re.ASCII)
"""16 bytes or more, as people write them."""

MAX_LINE: Final = 1 << 20
"""Characters of the longest line of a manifest or a list."""
_HEAD: Final = 1 << 16
_ERASED: Final = b"\xff\xff"
"""What text does not hold, and flash does."""


def is_manifest(name: str, *, listed: bool = False) -> bool:
    """Whether a file is a manifest by its name: JSON Lines, or a CSV.

    A CSV that is material of a module, or no text at all, is one only where it is said to be a
    list (`listed`). Raises FileError where it cannot be read.
    """
    suffix = Path(name).suffix.lower()
    if suffix != ".csv" or listed:
        return suffix in (".csv", ".jsonl")
    try:
        with Path(name).open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error
    return not opening.is_csv(head) and b"\0" not in head and _ERASED not in head


def read(name: str) -> Iterator[Source]:
    """The rows of a manifest, one at a time; paths are relative to it, `output` is to the output.

    Raises UsageError, with the line, for what is no such table; FileError where reading fails.
    """
    rows = _csv_rows if Path(name).suffix.lower() == ".csv" else _json_rows
    base = os.path.dirname(name)  # noqa: PTH120 - of a million paths
    with _open(name) as file:
        try:
            for number, row in rows(file):
                yield _source(row, base, f"{name}, line {number}")
        except UnicodeDecodeError as error:
            raise UsageError("bad-manifest", f"{name}: is no UTF-8 text") from error
        except (csv.Error, RecursionError) as error:
            raise UsageError("bad-manifest", f"{name}: is no table: {error}") from error
        except OSError as error:
            raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error


def key_files(source: Source) -> list[str | None]:
    """The files that a row names besides the image."""
    return [getattr(source, name) for name in KEYS]


def _open(name: str) -> TextIO:
    try:
        return Path(name).open(encoding=ENCODING, newline="")
    except OSError as error:
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error


def bounded_lines(file: TextIO, name: str) -> Iterator[str]:
    """The lines of a file; raises UsageError for one that no path or row is as long as."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise UsageError("bad-manifest", f"{name}: a line of over {MAX_LINE} characters")
        yield line


Numbered = Iterator[tuple[int, Mapping[str, Any]]]


def _csv_rows(file: TextIO) -> Numbered:
    reader = csv.DictReader(bounded_lines(file, file.name), strict=True)
    _check_header(reader.fieldnames or (), f"{file.name}, line 1")
    for row in reader:
        if None in row or None in row.values():
            text = "expected as many fields as the header has"
            raise UsageError("bad-manifest", f"{file.name}, line {reader.line_num}: {text}")
        yield reader.line_num, row


_PAIRS: Final = json.JSONDecoder(object_pairs_hook=tuple)
"""Makes of an object the pairs in it: a dict would keep the last of two with one name."""


def _json_rows(file: TextIO) -> Numbered:
    for number, line in enumerate(bounded_lines(file, file.name), 1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            row = _PAIRS.decode(line)
        except ValueError as error:
            raise UsageError("bad-manifest", f"{where}: is no JSON") from error
        if not isinstance(row, tuple):
            raise UsageError("bad-manifest", f"{where}: is no JSON object")
        _check_columns([name for name, _ in row], where)
        yield number, dict(row)


def _check_header(columns: Sequence[str], where: str) -> None:
    if IMAGE not in columns:
        text = f"no column `{IMAGE}`; a manifest needs it, separated by commas"
        raise UsageError("bad-manifest", f"{where}: {text}")
    _check_columns(columns, where)


def _check_columns(columns: Sequence[str], where: str) -> None:
    """Raise UsageError for one that is there twice, or that means nothing here."""
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UsageError("bad-manifest", f"{where}: two columns {twice!r}")
    known(columns, where)


def known(columns: Iterable[str], where: str) -> None:
    """Raise UsageError for a column that means nothing here: its values would be ignored."""
    unknown = next((name for name in columns if name not in COLUMNS), None)
    if unknown is not None:
        text = f"column {unknown!r} is none of {', '.join(COLUMNS)}"
        raise UsageError("bad-manifest", f"{where}: {text}")


def _source(row: Mapping[str, Any], base: str, where: str) -> Source:
    odd = next((name for name, value in row.items() if not isinstance(value, str | None)), None)
    if odd is not None:
        raise UsageError("bad-manifest", f"{where}: {odd} is no text")
    given = {name: value for name, value in row.items() if value}
    if IMAGE not in given:
        raise UsageError("bad-manifest", f"{where}: no image")
    chip = given.get("chip")
    if chip is not None and chip not in CHIPS:
        raise UsageError("bad-manifest", f"{where}: chip {chip!r} is none of {', '.join(CHIPS)}")
    if "output" in given and not _is_below(given["output"]):
        problem = f"output {given['output']!r}: expected a file below -o DIR"
        raise UsageError("bad-output", f"{where}: {problem}")
    path = places.beside(given[IMAGE], base)
    keys = {name: os.path.join(base, given[name]) for name in KEYS if name in given}  # noqa: PTH118
    _check_names([(IMAGE, path), *keys.items()], where)
    _check_keys(given, keys, where)
    return Source(
        path,
        given.get("id") or places.stem(path),
        label=given.get("label"),
        chip=chip,
        hmac_key=keys.get("hmac_key"),
        efuse=keys.get("efuse"),
        flash_encryption_key=keys.get("flash_encryption_key"),
        flash_address=_address(given.get(_ADDRESS), where),
        nvs_keys=keys.get("nvs_keys"),
        output=given.get("output"),
    )


def _check_names(paths: Iterable[tuple[str, str]], where: str) -> None:
    """Raise UsageError for a path that no system can be asked for, as JSON may write it."""
    for name, path in paths:
        try:
            os.fsencode(path)
        except UnicodeEncodeError as error:
            raise UsageError("bad-manifest", f"{where}: {name} is no file name") from error


def _check_keys(given: Mapping[str, str], paths: Mapping[Any, str], where: str) -> None:
    """Raise UsageError for what may be a secret itself: as a path it would be in every record."""
    for name, path in paths.items():
        if places.is_url(given[name]):
            raise UsageError("bad-manifest", f"{where}: {name} is a URL; keys are files here")
        if _KEY.fullmatch(given[name].strip()) and not os.path.lexists(path):
            raise UsageError("bad-manifest", f"{where}: {name} is a key; expected its file")


def _is_below(output: str) -> bool:
    """Whether a path stays in the directory that it is relative to."""
    try:
        plain = os.fsdecode(os.path.normpath(os.fsencode(output)))
    except UnicodeEncodeError:
        return False
    odd = "\0" in plain or os.path.isabs(plain)  # noqa: PTH117
    return not odd and Path(plain).parts[:1] not in ((), (".",), ("..",))


def _address(text: str | None, where: str) -> int | None:
    """Decimal or `0x…` hexadecimal."""
    if text is None:
        return None
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", text, re.ASCII) is None:
        problem = f"{_ADDRESS} {text!r} is no decimal or 0x… hexadecimal number"
        raise UsageError("bad-manifest", f"{where}: {problem}")
    return int(text, 16 if text[1:2] in ("x", "X") else 10)
