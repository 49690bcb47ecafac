"""The journal of a run: the plan and a record of each finished image, in one SQLite file.

Written by one process alone, with a commit a batch that is on disk when it returns, so that a run
that was killed at any moment can go on: what is in the journal is done, everything else is not.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from espcert import schemas
from espcert.errors import FileError, UsageError
from espcert.fleet import storage
from espcert.fleet.task import AUDIT, MIGRATE
from espcert.fleet.work import FAILED, OF_THE_IMAGE, Record

Row = sqlite3.Row

APPLICATION_ID: Final = 0x45435354
"""In the file's header, tells a journal from other SQLite files."""

_SQLITE: Final = b"SQLite format 3\0"
VERSION: Final = 2
_DAMAGED: Final = "the journal cannot be read or written: it is damaged"
PAGE: Final = 512
"""Rows that are read at once: few enough for memory, many enough for speed."""

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, source BLOB NOT NULL UNIQUE, first_run INTEGER NOT NULL,
    run INTEGER NOT NULL, mine INTEGER NOT NULL, spec TEXT NOT NULL, basis TEXT, size INTEGER,
    version TEXT, inode TEXT, output BLOB, output_key TEXT, begun BLOB, ours TEXT
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY REFERENCES sources (id), record TEXT NOT NULL, status TEXT NOT NULL,
    exit_code INTEGER NOT NULL, verdict TEXT, size INTEGER, version TEXT, input_sha256 TEXT,
    output_sha256 TEXT, written BLOB, basis TEXT
);
CREATE TABLE fingerprints (
    id INTEGER NOT NULL, kind TEXT NOT NULL, value BLOB NOT NULL, certificate BLOB,
    PRIMARY KEY (id, kind, value)
) WITHOUT ROWID;
"""
# sources: `run` is the last start that listed it, `first_run` the first; `mine` whether it is of
# this shard; `basis` changes with what an answer depends on besides the image; `inode` tells files
# apart, `output_key` outputs on file systems that fold case; `begun` is the output with which a
# source was handed out when nothing was there, `ours` the digest of what a run that was cut short
# has left there without a record.
# records: `written` is where that with `output_sha256` was written; a failure of the machine leaves
# both as they were. `version` is null where size and time of the source do not tell all.

_PLANNED: Final = """
SELECT sources.id AS id, sources.output AS output, sources.basis AS basis, records.id AS older,
    coalesce(output_sha256, ours) AS old_sha256, coalesce(written, begun) AS written
FROM sources LEFT JOIN records USING (id) WHERE source = ?
"""


WRITTEN: Final = "CASE WHEN records.id IS NULL THEN ours ELSE output_sha256 END"
"""The digest of what this journal's runs have written of a source, in a join with its record."""


class Journal:
    """An open journal. Made by `open_journal`; closed by `close`."""

    def __init__(self, database: sqlite3.Connection, path: Path, *, temporary: bool) -> None:
        self.database = database
        self.path = path
        self.temporary = temporary

    # --- Facts ---------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """What was written under a name, None where nothing was."""
        rows = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        if not rows:
            return None
        value = self._told(rows[0]["value"])
        if name in _SOUND and not _SOUND[name](value):
            raise self._damaged()
        return value

    def set_fact(self, name: str, value: Any) -> None:
        """Write something that JSON can hold under a name; on disk with the next commit."""
        self.database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value))
        )

    # --- Records -------------------------------------------------------------------------------

    def write(self, records: Iterable[Record]) -> None:
        """Write records of sources that are planned, and commit. Raises FileError."""
        with self.transaction():
            for record in records:
                self._write_one(record)

    def _write_one(self, record: Record) -> None:
        path = os.fsencode(record["source"])
        planned = self.database.execute(_PLANNED, (path,)).fetchone()
        number, digest, written = planned["id"], record["output_sha256"], planned["output"]
        if planned["older"] is not None:
            self.database.execute("DELETE FROM fingerprints WHERE id = ?", (number,))
        if digest is None and record["exit_code"] not in OF_THE_IMAGE:
            digest, written = planned["old_sha256"], planned["written"]
        self.database.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                json.dumps(record, allow_nan=False, separators=(",", ":")),
                *(record[name] for name in ("status", "exit_code", "verdict")),
                *(record[name] for name in ("input_size", "input_version", "input_sha256")),
                *(digest, written, planned["basis"]),
            ),
        )
        self.database.executemany(
            "INSERT OR IGNORE INTO fingerprints VALUES (?, ?, ?, ?)", _fingerprints(number, record)
        )

    def records(self) -> Iterator[Record]:
        """All records, sorted by source; never more than a few in memory."""
        query = (
            "SELECT source, record FROM sources JOIN records USING (id) WHERE source > ? "
            "ORDER BY source LIMIT ?"
        )
        last = b""
        while page := self._rows(query, (last, PAGE)):
            for row in page:
                yield self._record(row["record"])
            last = page[-1]["source"]

    def _record(self, text: str) -> Record:
        record: Record = self._told(text)
        if not isinstance(record, dict) or not _fields() <= record.keys():
            raise self._damaged()
        return record

    def _told(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damaged() from error

    def _damaged(self) -> FileError:
        return FileError("journal-failed", f"{self.path}: {_DAMAGED}")

    def _rows(self, query: str, given: Sequence[Any] = ()) -> list[Row]:
        with naming(self.path):
            return self.database.execute(query, given).fetchall()

    def failures(self, most: int) -> list[Record]:
        """The first records of images that failed, by exit code, the worst first, and source."""
        query = (
            "SELECT record FROM sources JOIN records USING (id) WHERE exit_code > 0 "
            "ORDER BY exit_code DESC, source LIMIT ?"
        )
        return [self._record(row["record"]) for row in self._rows(query, (most,))]

    def counts(self, column: str) -> dict[Any, int]:
        """How many records there are by `status`, `exit_code` or `verdict`."""
        query = f"SELECT {column}, COUNT(*) FROM records GROUP BY {column}"
        return dict(map(tuple, self._rows(query)))

    def left(self) -> int:
        """How many planned sources have no record: of a run that did not come to its end."""
        query = (
            "SELECT COUNT(*) FROM sources LEFT JOIN records USING (id) "
            "WHERE run = ? AND mine AND records.id IS NULL"
        )
        number: int = self._rows(query, (self.fact("run") or 0,))[0][0]
        return number + (self.fact("left") or 0)

    def verdicts(self) -> dict[str, int]:
        """How many modules have which verdict, those without an answer as `failed` or `skipped`."""
        query = (
            "SELECT CASE status WHEN 'done' THEN verdict ELSE status END, COUNT(*) FROM records "
            "GROUP BY 1"
        )
        return dict(map(tuple, self._rows(query)))

    def codes(self, also: Iterable[str] = ()) -> list[tuple[str, int]]:
        """The codes of findings and failures, and how many images have each; the most first.

        Of what is only worth knowing just the codes in `also`.
        """
        query = (
            "SELECT code, COUNT(*) AS number FROM (SELECT DISTINCT records.id AS id, "
            "json_extract(value, '$.code') AS code FROM records, "
            "json_each(record, '$.findings') WHERE json_extract(value, '$.severity') <> 'info' "
            "OR json_extract(value, '$.code') IN (SELECT value FROM json_each(?)) "
            "UNION SELECT id, json_extract(record, '$.error.code') FROM records "
            "WHERE status = 'failed') GROUP BY code ORDER BY number DESC, code"
        )
        listed = json.dumps([*also])
        return [(row["code"], row["number"]) for row in self._rows(query, (listed,))]

    # --- Plan ----------------------------------------------------------------------------------

    def todo(self, run: int, *, rehash: bool) -> Iterator[tuple[Row, bool]]:
        """The sources of this run without a record that holds, sorted by source.

        Each with whether its record is an answer for the bytes that it was made of, and for keys
        and all else as they are now; with `rehash` all sources. Raises FileError where a store
        does not say whether it has an output.
        """
        query = (
            "SELECT source, spec, sources.size AS size, output, status, "
            "records.version AS done_version, records.size AS done_size, "
            "records.basis IS sources.basis AS same_basis, "
            "sources.version AS version, exit_code, input_sha256, "
            f"{WRITTEN} AS output_sha256 "
            "FROM sources LEFT JOIN records USING (id) "
            "WHERE run = ? AND mine AND source > ? ORDER BY source LIMIT ?"
        )
        last = b""
        while page := self.database.execute(query, (run, last, PAGE)).fetchall():
            answered = _answered(page)
            for row in page:
                told = row["source"] in answered and bool(row["same_basis"])
                if rehash or not (told and _unchanged(row)):
                    yield row, told
            last = page[-1]["source"]

    def begin(self, paths: Sequence[str]) -> None:
        """Note of sources that they are handed out while nothing is in their places, and commit."""
        query = "UPDATE sources SET begun = output WHERE source = ?"
        with self.transaction():
            self.database.executemany(query, [(os.fsencode(path),) for path in paths])

    def adopt(self) -> None:
        """Take what lies where sources without a record were begun for what they have left."""
        query = (
            "SELECT sources.id, begun FROM sources LEFT JOIN records USING (id) "
            "WHERE begun IS NOT NULL AND ours IS NULL AND records.id IS NULL"
        )
        for number, output in self.database.execute(query).fetchall():
            digest = storage.digest_of(os.fsdecode(output))
            # Where nothing was left, what appears later is somebody else's.
            begun = None if digest is None else output
            query = "UPDATE sources SET begun = ?, ours = ? WHERE id = ?"
            self.database.execute(query, (begun, digest, number))

    def confirm(self, paths: Iterable[str]) -> None:
        """Note of sources that were touched that their bytes are the same, and commit."""
        query = (
            "UPDATE records SET (size, version) = (SELECT size, version FROM sources "
            "WHERE sources.id = records.id) WHERE version IS NOT NULL "
            "AND id = (SELECT id FROM sources WHERE source = ?)"
        )
        with self.transaction():
            self.database.executemany(query, [(os.fsencode(path),) for path in paths])

    # --- The file ------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises FileError where the file cannot be written."""
        with naming(self.path), self.database:
            self.database.execute("BEGIN IMMEDIATE")
            yield

    def close(self) -> None:
        """Close the file; a temporary one is gone with that."""
        with naming(self.path):
            self.database.close()
        if self.temporary:
            for path in files_of(self.path):
                path.unlink(missing_ok=True)
            self.path.parent.rmdir()


# --- What can be relied on ------------------------------------------------------------------------


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None
    except (AttributeError, ValueError):
        return False


def _is_object(value: Any, *needed: str) -> bool:
    return isinstance(value, dict) and set(needed) <= value.keys()


_SOUND: Final[dict[str, Callable[[Any], bool]]] = {
    "verb": lambda value: value in (AUDIT, MIGRATE),
    "options": lambda value: _is_object(value, "shard", "sources"),
    "versions": _is_object,
    "at": _is_moment,
    "started": lambda value: value is None or _is_moment(value),
    "finished": lambda value: value is None or _is_moment(value),
    "skipped": _is_object,
    "reports": _is_object,
    "run": lambda value: isinstance(value, int),
    "left": lambda value: isinstance(value, int),
}
"""Whether facts are what was written: what is not is a damaged journal, and no bug."""


@lru_cache(maxsize=1)
def _fields() -> frozenset[str]:
    """What every record has."""
    return frozenset(schemas.load("fleet")["required"])


def files_of(path: Path) -> list[Path]:
    """A journal and the files that SQLite puts beside it."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]


def _unchanged(row: Row) -> bool:
    return bool((row["done_size"], row["done_version"]) == (row["size"], row["version"]))


def _answered(rows: Sequence[Row]) -> set[bytes]:
    """The sources whose records are answers for the bytes that they were made of.

    Not where what was written has gone, and where the failure was not the image's but the
    machine's: no file, no space, no permission, no memory.
    """
    told = [row for row in rows if row["status"] is not None]
    told = [row for row in told if row["status"] != FAILED or row["exit_code"] in OF_THE_IMAGE]
    written = {os.fsdecode(row["output"]) for row in told if row["output_sha256"] is not None}
    there = storage.existing(written)
    return {
        row["source"]
        for row in told
        if row["output_sha256"] is None or os.fsdecode(row["output"]) in there
    }


def _fingerprints(number: int, record: Record) -> Iterator[tuple[int, str, bytes, bytes | None]]:
    found = record["fingerprints"]
    first = next(iter(found.get("device_cert", ())), None)
    certificate = None if first is None else bytes.fromhex(first)
    for kind, values in found.items():
        for value in values:
            yield number, kind, bytes.fromhex(value), certificate


# --- Opening --------------------------------------------------------------------------------------


def create_temporary() -> Journal:
    """A journal that nobody keeps: it holds what memory should not."""
    try:
        path = Path(tempfile.mkdtemp(prefix="espcert-")) / "fleet.sqlite"
    except OSError as error:
        raise FileError("write-failed", f"no temporary directory: {error.strerror}") from error
    return _created(path, temporary=True)


def open_journal(path: Path) -> Journal:
    """Open a journal to go on with it, or begin a new one, for this process alone.

    Raises UsageError for a file that is no journal or is in use, FileError where it cannot be
    read or written.
    """
    return _created(path, temporary=False)


def read_journal(path: Path) -> Journal:
    """Open a journal that is there, to read it. Raises as `open_journal` does.

    Raises UsageError, too, for one whose run ended before it was planned.
    """
    if not path.is_file():
        raise UsageError("not-found", f"{path}: no such journal")
    with naming(path):
        _refuse_foreign(path)
        database = _connected(path)
        _check(database, path)
        journal = Journal(database, path, temporary=False)
        if journal.fact("verb") is None:
            raise UsageError("empty-journal", f"{path}: no run was planned in it; start it again")
    return journal


def _created(path: Path, *, temporary: bool) -> Journal:
    with naming(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        _refuse_foreign(path)
        database = _connected(path)
        _lock(database)
    journal = Journal(database, path, temporary=temporary)
    with naming(path):
        new = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
    if new:
        with journal.transaction():
            for statement in _TABLES.strip().split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            journal.set_fact("id", secrets.token_hex(4))
    with naming(path):
        _check(database, path)
    return journal


def _refuse_foreign(path: Path) -> None:
    """Raise UsageError for a file that SQLite did not write, before it is touched."""
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head and head != _SQLITE:
        raise UsageError("not-a-journal", f"{path}: is no journal of a fleet")


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Raise UsageError where a database is not a journal that this version writes."""
    (mark,) = database.execute("PRAGMA application_id").fetchone()
    if mark != APPLICATION_ID:
        raise UsageError("not-a-journal", f"{path}: is no journal of a fleet")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        text = f"is a journal of version {version}, this espcert writes version {VERSION}"
        raise UsageError("journal-version", f"{path}: {text}")
    database.execute("SELECT 1 FROM facts").fetchone()


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    database.row_factory = sqlite3.Row
    return database


def _lock(database: sqlite3.Connection) -> None:
    """One writer, no reader; write-ahead log, and every commit on disk before it returns."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN EXCLUSIVE")
    database.execute("COMMIT")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in one line what SQLite or the system has against a journal."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _shows_values(error):
            raise FileError("journal-failed", f"{path}: {_DAMAGED}") from error
        if "locked" in str(error):
            text = "is in use by another run; wait for its end, or use another --journal"
            raise UsageError("journal-in-use", f"{path}: {text}") from error
        text = f"the journal cannot be read or written: {error}"
        if "readonly" in str(error):
            text += "; copy it, with its -wal if there is one, into a directory that can be written"
        raise FileError("journal-failed", f"{path}: {text}") from error
    except OSError as error:
        text = f"the journal cannot be read or written: {error.strerror}"
        raise FileError("journal-failed", f"{path}: {text}") from error


def _shows_values(error: sqlite3.DatabaseError) -> bool:
    """Whether a message quotes what is in the journal, or says no more than that it is bad."""
    return "decode to UTF-8" in str(error) or "malformed JSON" in str(error)
