"""One image of a fleet: from its path to its record, in whatever process that happens."""

from __future__ import annotations

import os
import time
import traceback
import unicodedata
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from espcert import (
    detection,
    files,
    flash_encryption,
    migration,
    nvs_encryption,
    opening,
    verification,
)
from espcert.catalogue import ERROR
from espcert.efuse import EfuseDump
from espcert.efuse import load as load_efuse
from espcert.errors import EspcertError, FileError, UnreadableError, UsageError
from espcert.findings import SEVERITIES, Finding
from espcert.fleet import identity, places, storage, walk
from espcert.fleet.task import AUDIT, Source, Task
from espcert.image import Image
from espcert.keys import load_hmac_key
from espcert.opening import Opening
from espcert.quiet import no_warnings
from espcert.text import printable
from espcert.verification import Means
from espcert_formats import registry
from espcert_formats.checksum import sha256

Record = dict[str, Any]

EXIT_BUG: Final = 70
OF_THE_IMAGE: Final = (0, 1, 3)
"""Exit codes of an answer; others say that there was none, today."""

DONE, FAILED, SKIPPED = "done", "failed", "skipped"

MAX_KEY_FILE: Final = 1 << 20
"""Bytes of the largest certificate, key or password file."""

_SQLITE: Final = (b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""How a database and its write-ahead log begin. Source: sqlite.org/fileformat.html, 1.3.1, 4.1."""
_PEM: Final = b"-----BEGIN "
_TEXT_HEAD: Final = 1024
_BLANKS: Final = frozenset("\t\r\n")

_UNKNOWN: Final[Record] = {
    "status": DONE,
    "exit_code": 0,
    "container": None,
    "layout": None,
    "key": None,
    "revision": None,
    "label": None,
    "chip_family": None,
    "partition": None,
    "evidence": [],
    "verdict": None,
    "proven": None,
    "findings": [],
}
_NOTHING_WRITTEN: Final[Record] = {
    "output": None,
    "items": [],
    "changes": [],
    "partition_table": None,
    "flash_command": None,
}
_ENDS: Final[Record] = {
    "input_sha256": None,
    "output_sha256": None,
    "input_size": None,
    "input_version": None,
    **identity.NOBODY,
    "duration_ms": 0.0,
}
_UNREAD: Final = _UNKNOWN | _ENDS
_UNWRITTEN: Final = _UNKNOWN | _NOTHING_WRITTEN | _ENDS
"""The fields of an image of which nothing is known yet, of an audit and of a migration."""


def run_batch(batch: Sequence[Source], task: Task) -> list[Record | None]:
    """The records of some images, in their order; None where there is one already.

    No image stops the others. Running a batch again gives the same records and outputs. What the
    records say to be written or removed is so on disk, too.
    """
    with no_warnings():
        records = [process(source, task) for source in batch]
    storage.sync_names(_touched(batch, records))
    return records


def _touched(batch: Sequence[Source], records: Sequence[Record | None]) -> Iterator[str]:
    """The outputs of a batch that were written, or may have been removed."""
    for source, record in zip(batch, records, strict=True):
        if record is None or source.output is None:
            continue
        if source.ours is not None or record["output_sha256"] is not None:
            yield source.output


def process(source: Source, task: Task) -> Record | None:
    """The record of one image; None where its bytes are those of which there is one."""
    begin = time.perf_counter()
    record = _blank(source, task)
    with no_warnings():
        if not _told(record, lambda: _work(source, task, record)):
            return None
        if source.ours is not None and source.output is not None:
            _told(record, lambda: _withdraw(source, record))
    record["duration_ms"] = round((time.perf_counter() - begin) * 1000, 3)
    return record


def _told(record: Record, step: Callable[[], bool]) -> bool:
    """The answer of a step; what it raises becomes the record's failure."""
    try:
        return step()
    except EspcertError as error:
        _fail(record, error.code, error.message, error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a record, not a crash
        _fail(record, "bug", _bug(error), EXIT_BUG)
    return True


def died(source: Source, task: Task) -> Record:
    """The record of an image on which one worker after the other has died."""
    record = _blank(source, task)
    text = "its worker was ended by the system: out of memory, or a crash; again each time"
    _fail(record, "worker-died", text, EXIT_BUG)
    return record


def _blank(source: Source, task: Task) -> Record:
    head = {"schema": 1, "source": source.path, "id": source.id}
    return head | (_UNREAD if task.verb == AUDIT else _UNWRITTEN)


def _fail(record: Record, code: str, message: str, exit_code: int) -> None:
    record["status"] = FAILED
    record["exit_code"] = exit_code
    record["error"] = {"code": code, "message": printable(message)}


def _bug(error: Exception) -> str:
    """What kind of error it was and where it arose; never a value, which may be a secret."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return f"internal error ({type(error).__name__} at {place}): this is a bug in espcert"


def _work(source: Source, task: Task, record: Record) -> bool:
    """Fill in the record. False where its bytes are known and nothing is to be done."""
    if source.problem is not None:
        raise FileError("read-failed", f"{source.path}: cannot be read: {source.problem}")
    given = _opening(source, task)
    if source.named and storage.is_directory(source.path):
        image, digest = _of_pem(source, given, record)
    else:
        stored = storage.read(source.path, task.max_size)
        digest = sha256(stored.data)
        record["input_size"], record["input_version"] = len(stored.data), stored.version
        skipped = None if source.named else not_meant(stored.data)
        if skipped is not None:
            record |= {"status": SKIPPED, "reason_code": skipped, "input_sha256": digest}
            return True
        _refuse_remote_csv(source.path, stored.data)
        image = opening.open_bytes(stored.data, source.path, given)
        if image.contents is not None:
            digest = _of_material(image, record, stored.data)
    if digest == source.known and _is_written(source):
        return False
    record["input_sha256"] = digest
    reading = detection.detect(image)
    record |= detection.to_json(reading)
    reading.require()
    _judge(reading, source, task, record)
    return True


def _of_pem(source: Source, given: Opening, record: Record) -> tuple[Image, str]:
    """A directory that a manifest names, with the digest of the material in it."""
    record["input_size"] = storage.status_of(source.path)[0]
    image = opening.open_image(source.path, given)
    return image, _of_material(image, record)


def _of_material(image: Image, record: Record, index: bytes = b"") -> str:
    """The digest of material in several files, of which no size and time of the source tells."""
    assert image.contents is not None
    record["input_version"] = None
    return sha256(index + b"".join(item.data for item in image.contents.items))


def _refuse_remote_csv(path: str, data: bytes) -> None:
    if places.is_url(path) and opening.is_csv(data):
        text = "is a CSV, which names files beside it; they are read from directories only"
        raise UsageError("remote-csv", f"{path}: {text}")


def not_meant(data: bytes) -> str | None:
    """Why a file that was found in a directory is no image; None where it may be one."""
    if data.startswith(_SQLITE):
        return "journal"
    if registry.starts(data):
        return None
    text = data.lstrip()[: len(_PEM)] == _PEM or opening.is_csv(data) or _is_text(data)
    return "text" if text else None


def _is_text(data: bytes) -> bool:
    """Whether the beginning is text in UTF-8, and nothing after it is erased flash or zeros."""
    if b"\xff" in data or b"\0" in data:
        return False
    head = data[:_TEXT_HEAD]
    try:
        text = getincrementaldecoder("utf-8")().decode(head, final=len(head) < _TEXT_HEAD)
    except UnicodeDecodeError:
        return False
    return bool(text) and not any(unicodedata.category(one) == "Cc" for one in set(text) - _BLANKS)


def _judge(reading: detection.Reading, source: Source, task: Task, record: Record) -> None:
    given = _means(source, task)
    context = given.context(reading)
    soon = [] if task.expires_within is None else [*identity.expiry(context, task.expires_within)]
    if task.verb == AUDIT:
        found = verification.findings(reading, given)
        found = _sorted([*found, *soon]) if soon else found
        judged = verification.verdict(found, strict=task.strict, proof=task.require_proof)
        record |= verification.judgement_to_json(context.contents, found, judged)
        record |= identity.describe(context, found)
        record["exit_code"] = 1 if judged == ERROR else 0
    else:
        record |= identity.describe(context, _migrate(reading, source, task, given, soon, record))


def _sorted(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _migrate(
    reading: detection.Reading,
    source: Source,
    task: Task,
    given: Means,
    soon: list[Finding],
    record: Record,
) -> Sequence[Finding]:
    """Migrate, write, and fill in the record; what was found of the keys."""
    options = migration.Options(
        task.size,
        task.integrity,
        frozenset(task.accept),
        means=given,
        partition_only=task.partition_only,
        encrypted=task.encrypted,
    )
    result = migration.migrate(reading, options)
    written = None if result.file is None else _write(source, result.file, task)
    record |= migration.outcome_to_json(result, written)
    found = _sorted([*result.findings, *soon])
    record["findings"] = [finding.to_json() for finding in found]
    record["verdict"] = verification.verdict(found)
    if result.contents is not None and written is not None:
        shown = [*result.findings, *result.proven]
        record["proven"] = verification.is_proven(result.contents, shown)
    else:
        codes = ", ".join(dict.fromkeys(finding.code for finding in result.blocking))
        _fail(record, "refused", f"refused, nothing written: {codes}", EspcertError.exit_code)
    return result.proven


def _write(source: Source, data: bytes, task: Task) -> str:
    assert source.output is not None
    if not places.is_url(source.output) and os.path.lexists(source.output):
        files.refuse_input_as_output([source.path], Path(source.output))
    storage.write(source.output, data, force=task.force, ours=source.ours, mark=task.mark)
    return source.output


def _is_written(source: Source) -> bool:
    """Whether what an earlier run wrote is still what it wrote."""
    return source.ours is None or storage.holds(str(source.output), source.ours)


def _withdraw(source: Source, record: Record) -> bool:
    """Remove what an earlier run wrote of other bytes, where the bytes of today give no output.

    It would lie beside the refusal as if it were the answer, and be flashed.
    """
    if record["output_sha256"] is None and record["exit_code"] in OF_THE_IMAGE:
        storage.remove(str(source.output), str(source.ours))
    return True


# --- What images are opened and proven with ------------------------------------------------------


def _opening(source: Source, task: Task) -> Opening:
    """How one image is read, with the keys of its module."""
    label = source.label or task.label
    if source.flash_encryption_key is None and source.nvs_keys is None:
        return _opening_without_keys(label, task.table_offset)
    flash = keys = None
    if source.flash_encryption_key is not None:
        chip = source.chip or task.chip
        scheme = flash_encryption.ESP32 if chip == "esp32" else flash_encryption.XTS
        name = storage.key_file(source.flash_encryption_key)
        flash = flash_encryption.load(name, scheme, None, source.flash_address)
    if source.nvs_keys is not None:
        keys = nvs_encryption.load_keys(storage.key_file(source.nvs_keys))
    names = (source.flash_encryption_key, source.nvs_keys)
    return Opening(
        label,
        task.table_offset,
        flash_encryption=flash,
        nvs_keys=keys,
        key_files=tuple(name for name in names if name is not None),
    )


@lru_cache(maxsize=4)
def _opening_without_keys(label: str | None, table_offset: int | None) -> Opening:
    return Opening(label, table_offset)


def _means(source: Source, task: Task) -> Means:
    """The means of one image: those of the fleet, and the module's own keys."""
    chip = source.chip or task.chip
    key = _hmac_key(source, task.hmac_keys)
    efuse = None if source.efuse is None else load_efuse(storage.key_file(source.efuse), chip)
    if key is None and efuse is None:
        return _means_without_keys(task, chip)
    return _means_with(task, chip, key, efuse)


@lru_cache(maxsize=16)
def _means_without_keys(task: Task, chip: str | None) -> Means:
    return _means_with(task, chip, None, None)


def _means_with(
    task: Task, chip: str | None, hmac_key: bytes | None, efuse: EfuseDump | None
) -> Means:
    return verification.means(
        hmac_key=hmac_key,
        efuse=efuse,
        at=task.at,
        chip=chip,
        firmware=task.firmware,
        **_shared(task.ca, task.signing_key, task.key_password, (task.mark, task.run)),
    )


@lru_cache(maxsize=4)
def _shared(
    ca: tuple[str, ...], signing_key: str | None, key_password: str | None, _run: tuple[str, int]
) -> dict[str, Any]:
    """The contents of the files that serve the whole fleet, read once in a process and a run.

    A cluster's worker outlives a run, and the files may be others in the next.
    """
    return {
        "ca": [read_key_file(name) for name in ca] or None,
        "signing_key": None if signing_key is None else read_key_file(signing_key),
        "key_password": None if key_password is None else read_password(key_password),
    }


def read_key_file(name: str) -> bytes:
    """The bytes of a certificate, key or password file. Raises UsageError, FileError."""
    try:
        return files.read_image(name, MAX_KEY_FILE)
    except UnreadableError as error:
        raise UsageError(error.code, f"{name}: over 1 MiB, too large") from error


def read_password(name: str) -> bytes:
    """The first line of a file, without its line break. Raises UsageError where it is empty."""
    password = read_key_file(name).split(b"\n", 1)[0].rstrip(b"\r")
    if not password:
        raise UsageError("no-password", f"{name}: its first line is empty")
    return password


def _hmac_key(source: Source, directory: str | None) -> bytes | None:
    if source.hmac_key is not None:
        return load_hmac_key(storage.key_file(source.hmac_key))
    if directory is None:
        return None
    there = [path for path in key_paths(directory, source.path) if os.path.lexists(path)]
    if there and _is_among(os.path.dirname(source.path), directory):  # noqa: PTH120
        image = walk.identity_at(source.path)
        there = [path for path in there if walk.identity_at(path) != image]
    keys = {load_hmac_key(storage.key_file(path)) for path in there}
    if len(keys) > 1:
        raise UsageError("two-hmac-keys", f"{' and '.join(there)} hold different keys")
    return next(iter(keys), None)


@lru_cache(maxsize=64)
def _is_among(folder: str, keys: str) -> bool:
    """Whether images of a directory lie among the keys, and would be taken for their own."""
    return walk.identity_at(folder or os.curdir) == walk.identity_at(keys)


def key_paths(directory: str, image: str) -> list[str]:
    """Where the HMAC key of an image may lie: its own name with another suffix."""
    stem = os.path.join(directory, places.stem(image))  # noqa: PTH118
    return [stem + suffix for suffix in (".bin", ".hex")]


def check(task: Task) -> None:
    """Raise UsageError or FileError for what would fail with every image."""
    _means_with(task, task.chip, None, None)
