"""Plan a run in the journal, on disk: its sources, where each is written, and what is left."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from espcert.errors import FileError, UsageError
from espcert.files import STDIN, place_of, reason_of
from espcert.fleet import kept, manifest, places, sources, storage, walk, work
from espcert.fleet.journal import PAGE, WRITTEN, Journal, Row, files_of
from espcert.fleet.settings import Request, same_settings
from espcert.fleet.sources import Listed, batched
from espcert.fleet.task import MIGRATE, Source
from espcert_formats.flash import SECTOR

SHOWN: Final = 3
"""Clashes that a message lists."""

_PARQUET: Final = b"PAR1"
_HEAD: Final = 0x10000

PARTITION: Final = 0x6000
"""Bytes of a usual partition, to estimate what will be written."""

_INSERT: Final = """
INSERT INTO sources
    (source, first_run, run, mine, spec, size, version, inode, output, output_key, basis)
VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?12)
ON CONFLICT (source) DO UPDATE SET run = ?2, mine = ?3, spec = ?4, size = ?5, version = ?6,
    inode = ?7, output = ?8, output_key = ?9, basis = ?12
WHERE run < ?2 OR (?10 AND spec = ?11) OR (?10 AND NOT coalesce(json_extract(spec, '$.named'), 1))
"""
# What is named (?10) holds against what a directory holds, and what a manifest says against a mere
# path (?11), in whatever order they come.


class Plan(NamedTuple):
    """What a run has before it: how many sources there are, how many are left, and their bytes.

    `run` counts the starts of the journal, `skipped` the files that are no sources, by reason.
    """

    run: int
    total: int
    left: int
    written: int
    skipped: dict[str, int]


def prepare(journal: Journal, request: Request) -> Plan:
    """List the sources, place and check the outputs, and write all that as one transaction.

    Raises UsageError for settings that differ from the journal's, for sources that cannot be
    understood, and for outputs that clash; FileError where there is too little space. In each
    case the journal is as it was.
    """
    with journal.transaction():
        same_settings(journal, request)
        run = (journal.fact("run") or 0) + 1
        journal.set_fact("run", run)
        journal.adopt()
        looking = _looking(journal, request)
        _list(journal, request, looking, run)
        total = _count(journal, "run = ? AND mine", run)
        if not _count(journal, "run = ?", run):
            raise UsageError("no-sources", _nothing(request.arguments, looking.skipped))
        with kept.known_keys(journal, run):
            if request.task.verb == MIGRATE:
                _check_outputs(journal, request, run)
            _check_reports(journal, request, run)
        journal.database.execute(
            "DELETE FROM sources WHERE run < ? AND ours IS NULL "
            "AND id NOT IN (SELECT id FROM records)",
            (run,),
        )
        others = _count(journal, "run = ? AND NOT mine", run)
        skipped = dict(looking.skipped) | ({"other-shard": others} if others else {})
        journal.set_fact("skipped", skipped)
        left, written = _left(journal, request, run)
        _check_space(request, written)
    return Plan(run, total, left, written, skipped)


def _nothing(arguments: Sequence[str], skipped: Mapping[str, int]) -> str:
    """What was looked at where no image was found, and what was left out there."""
    names = ["standard input" if name == STDIN else name for name in arguments]
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    left_out = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
    looked_at = f"left out: {left_out}" if left_out else "nothing is there"
    return f"{', '.join(names[:SHOWN] + more)}: no image was found; {looked_at}"


def source_of(row: Row, answered: bool, *, rehash: bool) -> Source:
    """A source as it was planned, with what the journal knows of earlier work on it."""
    spec = json.loads(row["spec"])
    spec["output"] = None if row["output"] is None else os.fsdecode(row["output"])
    looked_into = rehash or row["done_version"] is None
    spec["known"] = row["input_sha256"] if looked_into and answered else None
    return Source(os.fsdecode(row["source"]), ours=row["output_sha256"], **spec)


# --- Sources -------------------------------------------------------------------------------------


def _looking(journal: Journal, request: Request) -> walk.Walk:
    output, keys = request.output, request.task.hmac_keys
    arguments = [storage.canonical(name) for name in request.arguments]
    roots = [name for name in arguments if os.path.isdir(name)]  # noqa: PTH112
    top = walk.identities(roots, "root")
    outputs = walk.identities([output], walk.OUTPUT) if output else {}
    url = request.output if request.output and places.is_url(request.output) else None
    if any(one in top for one in outputs) or (url and url in arguments):
        raise UsageError("bad-output", f"-o {output}: {kept.SOURCE}")
    key_directory = walk.identities([keys], walk.KEYS) if keys else {}
    reports = filter(_is_a_report, request.reports)
    ours = [*map(str, files_of(journal.path)), *reports]
    own = walk.identities(ours, walk.JOURNAL)
    avoided = key_directory | outputs | own
    return walk.Walk(
        request.task.max_size,
        {one: reason for one, reason in avoided.items() if one not in top},
        next((one for one in key_directory if one in top), None),
        url,
    )


def _is_a_report(path: str) -> bool:
    """Whether what stands in a report's place is one by its first bytes, and not an image."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_PARQUET) or work.not_meant(head) is not None


def _list(journal: Journal, request: Request, looking: walk.Walk, run: int) -> None:
    common = _CommonParent()
    rows = _rows(journal, request, looking, run, common)
    journal.database.executemany(_INSERT, rows)
    if request.output is not None and common.path is not None:
        base, output = common.path, request.output

        def place(source: bytes) -> bytes:
            return os.fsencode(places.below(output, os.fsdecode(source), base))

        journal.database.create_function("place", 1, place, deterministic=True)
        journal.database.create_function("fold", 1, _folded, deterministic=True)
        journal.database.execute(
            "UPDATE sources SET output = place(source), output_key = fold(place(source)) "
            "WHERE run = ? AND output IS NULL",
            (run,),
        )


class _CommonParent:
    """The longest directory that holds all paths that were added."""

    def __init__(self) -> None:
        self.path: str | None = None
        self._last = ""

    def add(self, path: str) -> None:
        parent = places.parent(path)
        if parent != self._last:
            self._last = parent
            self.path = parent if self.path is None else places.common(self.path, parent)


def _rows(
    journal: Journal, request: Request, looking: walk.Walk, run: int, common: _CommonParent
) -> Iterator[tuple[Any, ...]]:
    shared = [_version_of(name) for name in (request.task.signing_key, request.task.key_password)]
    for one in sources.listed(request.arguments, looking):
        output = None if request.output is None else _output(one, request.output)
        if output is None and request.output is not None:
            common.add(one.source.path)
        keys = [name for name in manifest.key_files(one.source) if name is not None]
        request.check_paths(one.source.path, *keys)
        if request.task.hmac_keys is not None and one.source.hmac_key is None:
            keys += work.key_paths(request.task.hmac_keys, one.source.path)
        path, file = os.fsencode(one.source.path), one.found
        spec, plain = _spec(one.source), None
        if one.source.named:
            plain = _spec(Source(one.source.path, places.stem(one.source.path)))
            if spec != plain:
                _refuse_other(journal, (path, run, spec, plain))
        yield (
            path,
            run,
            one.source.path in request.shard,
            spec,
            file.size,
            file.version,
            None if file.inode is None else "{}:{}".format(*file.inode),
            None if output is None else os.fsencode(output),
            None if output is None else _folded(os.fsencode(output)),
            one.source.named,
            plain,
            _basis(spec, [*shared, *map(_version_of, keys)]),
        )


def _basis(spec: str, keys: Sequence[str | None]) -> str:
    """What changes with what an answer depends on besides the image: its row, and key files."""
    return f"{spec} {keys}" if any(keys) else spec


def _version_of(path: str | None) -> str | None:
    """Size and time of a file, None where there is none that this machine sees."""
    status = None if path is None else walk.status_of(path)
    return None if status is None else f"{status.st_size} {storage.version_of(status)}"


def _refuse_other(journal: Journal, row: tuple[bytes, int, str, str]) -> None:
    """Raise UsageError where a manifest has said something else of the same image."""
    query = (
        "SELECT 1 FROM sources WHERE source = ? AND run = ? AND spec NOT IN (?, ?) "
        "AND coalesce(json_extract(spec, '$.named'), 1)"
    )
    if journal.database.execute(query, row).fetchone():
        text = "two rows say different things of it; one run has one record of an image"
        raise UsageError("source-twice", f"{_text(row[0])}: {text}")


_NAMES: Final = Source._fields[1:]
_DEFAULTS: Final = tuple(Source._field_defaults.get(name) for name in _NAMES)


def _spec(source: Source) -> str:
    """What tells a source from a plain path."""
    given = zip(_NAMES, source[1:], _DEFAULTS, strict=True)
    return json.dumps({name: one for name, one, default in given if one != default})


# --- Outputs -------------------------------------------------------------------------------------


def _output(one: Listed, directory: str) -> str | None:
    """Where a source goes, where that can be told from the source alone."""
    if one.source.output is not None:
        return places.joined(directory, os.path.normpath(one.source.output))
    return None if one.root is None else places.below(directory, one.source.path, one.root)


def _folded(path: bytes) -> str:
    """Equal for two paths that some file systems take for the same; object stores do not."""
    if places.is_url(os.fsdecode(path)):
        return os.fsdecode(path)
    return unicodedata.normalize("NFC", os.fsdecode(path)).casefold().encode(
        "utf-8", "surrogatepass"
    ).decode("utf-8", "backslashreplace")  # fmt: skip


def _check_outputs(journal: Journal, request: Request, run: int) -> None:
    """Raise UsageError for two sources with one output, and for outputs that are in the way."""
    query = (
        "SELECT MIN(source) AS one, MAX(source) AS two, MIN(output) AS output FROM sources "
        "WHERE run = ? GROUP BY output_key HAVING COUNT(*) > 1 LIMIT ?"
    )
    pairs = journal.database.execute(query, (run, SHOWN)).fetchall()
    _refuse("output-clash", [
        f"{_text(row['one'])} and {_text(row['two'])} would both be {_text(row['output'])}"
        for row in pairs
    ])  # fmt: skip
    _check_folders(journal, run)
    _check_moved(journal, run)
    journal.database.execute("CREATE INDEX IF NOT EXISTS by_inode ON sources (inode)")
    if places.is_url(str(request.output)):
        _refuse("output-exists", _in_the_way_remotely(journal, request, run))
        return
    query = (
        "SELECT sources.id AS id, source, output, first_run, output_sha256 "
        "FROM sources LEFT JOIN records USING (id) WHERE run = ? AND mine"
    )
    rows = journal.database.execute(query, (run,))
    _refuse("output-exists", _in_the_way(rows, journal, request, run))


def _in_the_way(
    rows: Sequence[Row] | Any, journal: Journal, request: Request, run: int
) -> list[str]:
    """Outputs that exist and are neither this journal's nor to be replaced, or are sources."""
    found: list[str] = []
    needed = kept.of_request(request, journal.path)
    for row in rows:
        output = os.fsdecode(row["output"])
        if not os.path.lexists(output):
            continue
        why = needed.why_not_replaced(output) or _why_not(journal, output)
        if why is None and os.path.isdir(output):  # noqa: PTH112 - of a million paths
            why = "is a directory, not a file to write"
        if why is not None:
            found.append(f"{output} {why}")
        elif row["first_run"] == run and not request.task.force:
            found.append(f"{output} exists; --force replaces it")
        if len(found) == SHOWN:
            break
    return found


def _in_the_way_remotely(journal: Journal, request: Request, run: int) -> list[str]:
    """The same for outputs behind URLs: a store tells no second name of an object."""
    database = journal.database
    query = (
        "SELECT output FROM sources WHERE run = ? AND mine "
        "AND output IN (SELECT source FROM sources) LIMIT ?"
    )
    rows = database.execute(query, (run, SHOWN))
    found = [f"{_text(row['output'])} {kept.SOURCE}" for row in rows]
    if found or request.task.force or storage.is_empty(str(request.output)):
        return found
    query = "SELECT output FROM sources WHERE run = ?1 AND first_run = ?1 AND mine"
    outputs = (_text(row["output"]) for row in database.execute(query, (run,)))
    chunks = batched(outputs, PAGE)
    there = (path for chunk in chunks for path in sorted(storage.existing(chunk)))
    text = "exists; --force replaces it"
    return [f"{path} {text}" for path in itertools.islice(there, SHOWN)]


def _why_not(journal: Journal, path: str) -> str | None:
    """Why a file that is there must stay as it is, by what was planned."""
    if kept.is_source(journal, path):
        return kept.SOURCE
    return kept.KEY if kept.is_key(journal, path) else None


def _check_reports(journal: Journal, request: Request, run: int) -> None:
    """Raise UsageError for a report in the place of a source, a key or an output."""
    for report in request.reports:
        why = _why_not(journal, report)
        if why is None and _is_output(journal, request, report, run):
            why = kept.OUTPUT
        if why is not None:
            raise UsageError("output-is-input", f"nothing was done: {report} {why}")


def _is_output(journal: Journal, request: Request, report: str, run: int) -> bool:
    """Whether an image will be written to a path, however it is spelled."""
    if request.output is None or places.is_url(request.output):
        return False
    relative = os.path.relpath(place_of(Path(report)), place_of(Path(request.output)))
    key = _folded(os.fsencode(places.joined(request.output, relative)))
    query = "SELECT 1 FROM sources WHERE run = ? AND output_key = ?"
    return journal.database.execute(query, (run, key)).fetchone() is not None


def _check_folders(journal: Journal, run: int) -> None:
    """Raise UsageError where one output would be a directory that another one needs."""
    database = journal.database
    database.execute("CREATE TEMP TABLE folders (key TEXT PRIMARY KEY) WITHOUT ROWID")
    query = "SELECT output_key FROM sources WHERE run = ? ORDER BY output_key"
    parents = _parents(row[0] for row in database.execute(query, (run,)))
    database.executemany("INSERT OR IGNORE INTO folders VALUES (?)", parents)
    query = "SELECT source FROM sources JOIN folders ON output_key = key WHERE run = ? LIMIT ?"
    rows = database.execute(query, (run, SHOWN)).fetchall()
    database.execute("DROP TABLE folders")
    text = "would be a file where other sources need a directory"
    _refuse("output-clash", [f"{_text(row['source'])} {text}" for row in rows])


def _check_moved(journal: Journal, run: int) -> None:
    """Raise UsageError where the old output of a source would be left beside a new one."""
    query = (
        "SELECT source, coalesce(written, begun) AS written, output FROM sources "
        "LEFT JOIN records USING (id) WHERE run = ? AND mine AND coalesce(written, begun) "
        f"IS NOT output AND {WRITTEN} IS NOT NULL ORDER BY source LIMIT ?"
    )
    rows = journal.database.execute(query, (run, SHOWN)).fetchall()
    problems = [
        f"{_text(row['source'])} was written to {_text(row['written'])} and would now be "
        f"{_text(row['output'])}" for row in rows
    ]  # fmt: skip
    if problems:
        problems[-1] += ". Give the sources as at the first start, or begin another journal"
    _refuse("outputs-move", problems)


def _parents(keys: Iterator[str]) -> Iterator[tuple[str]]:
    last = ""
    for key in keys:
        parent = os.path.dirname(key)  # noqa: PTH120 - of a million paths
        if parent != last:
            last = parent
            while parent and parent != os.path.dirname(parent):  # noqa: PTH120
                yield (parent,)
                parent = os.path.dirname(parent)  # noqa: PTH120


def _refuse(code: str, problems: list[str]) -> None:
    if problems:
        more = "; and perhaps more" if len(problems) == SHOWN else ""
        raise UsageError(code, f"nothing was done: {'; '.join(problems)}{more}")


def _text(path: bytes) -> str:
    return os.fsdecode(path)


# --- What is left --------------------------------------------------------------------------------


def _count(journal: Journal, condition: str, run: int) -> int:
    query = f"SELECT COUNT(*) FROM sources WHERE {condition}"
    number: int = journal.database.execute(query, (run,)).fetchone()[0]
    return number


def _left(journal: Journal, request: Request, run: int) -> tuple[int, int]:
    """How many sources are left, and about how many bytes they will be written with."""
    number = size = 0
    for row, _ in journal.todo(run, rehash=request.rehash):
        number += 1
        held = PARTITION if request.task.partition_only else row["size"] or 0
        size += max(PARTITION, -(-held // SECTOR) * SECTOR)
    return number, size if request.task.verb == MIGRATE else 0


def _check_space(request: Request, needed: int) -> None:
    if request.output is None or places.is_url(request.output) or not needed:
        return
    try:
        free = shutil.disk_usage(request.output).free
    except OSError as error:
        raise FileError("read-failed", f"{request.output}: {reason_of(error)}") from error
    if needed > free:
        text = f"about {-(-needed >> 20)} MiB are needed, {free >> 20} MiB are free"
        raise FileError("no-space", f"{request.output}: {text}; nothing was done")
