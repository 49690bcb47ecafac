"""Join the journals of shards into one, as if one machine had done it all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from espcert import files
from espcert.errors import UsageError
from espcert.fleet import journal as journals
from espcert.fleet import kept
from espcert.fleet.journal import Journal, naming

_OWN: Final = ("shard", "directory", "output", "sources")
"""Settings in which shards may differ: machines that share nothing have paths of their own."""

_SHOWN: Final = 5
"""Shards or clocks that a message lists."""

_COPIED: Final = (
    # Two machines number their files alike.
    "INSERT INTO sources SELECT NULL, source, 1, 1, 1, spec, basis, size, version, "
    "(SELECT value FROM shard.facts WHERE name = 'id') || ' ' || inode, output, output_key, "
    "NULL, NULL "
    "FROM shard.sources AS old WHERE id IN (SELECT id FROM shard.records) "
    "AND NOT EXISTS (SELECT 1 FROM sources WHERE sources.source = old.source)",
    "CREATE TEMP TABLE pairs AS SELECT old.id AS old, sources.id AS new "
    "FROM shard.sources AS old JOIN sources ON sources.source = old.source "
    "WHERE sources.id NOT IN (SELECT id FROM records)",
    "INSERT INTO records SELECT new, record, status, exit_code, verdict, size, version, "
    "input_sha256, output_sha256, written, basis FROM shard.records JOIN pairs ON id = old",
    "INSERT INTO fingerprints SELECT new, kind, value, certificate FROM shard.fingerprints "
    "JOIN pairs ON id = old",
    "DROP TABLE pairs",
)


def merge(paths: Sequence[Path], output: Path) -> list[str]:
    """Write a journal with the records of several, whole or not at all.

    Returns what the whole lacks, in words.

    Raises UsageError where the output exists, where the journals were not made with the same
    verb, options and versions, or where two of them have different images under one path.
    """
    kept.refuse([output], kept.of_journals(paths))
    if os.path.lexists(output):
        raise UsageError("output-exists", f"{output}: exists; it is never replaced")
    files.check_output(output, force=False)
    facts = [_facts(path) for path in paths]
    _refuse_twice(paths, facts)
    for path, one in zip(paths, facts, strict=True):
        _same(path, one, paths[0], facts[0])
    temporary = output.with_name(f".espcert-{os.urandom(6).hex()}.tmp")
    try:
        _write(temporary, paths, facts)
        files.publish(temporary, output)
    finally:
        for file in journals.files_of(temporary):
            file.unlink(missing_ok=True)
    return [*_missing(facts), *_unfinished(paths, facts), *_clocks(facts)]


def _write(output: Path, paths: Sequence[Path], facts: Sequence[dict[str, Any]]) -> None:
    merged = journals.open_journal(output)
    try:
        for path in paths:
            _add(merged, path)
        with merged.transaction():
            for name, value in _joined(facts).items():
                merged.set_fact(name, value)
    finally:
        merged.close()


def _refuse_twice(paths: Sequence[Path], facts: Sequence[dict[str, Any]]) -> None:
    seen: dict[str, Path] = {}
    for path, one in zip(paths, facts, strict=True):
        if one["id"] in seen:
            text = f"is the same journal as {seen[one['id']]}"
            raise UsageError("given-twice", f"{path}: {text}; give each shard's once")
        seen[one["id"]] = path


def _missing(facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Which shards of a division were not given."""
    given = {one["options"]["shard"] for one in facts}
    counts = {shard.partition("/")[2] for shard in given}
    if len(counts) > 1:
        yield f"these are shards of different divisions: {', '.join(sorted(given))}"
    for count in counts if len(counts) == 1 else ():
        whole = {f"{number}/{count}" for number in range(1, int(count) + 1)}
        missing = sorted(whole - given, key=lambda shard: int(shard.partition("/")[0]))
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            yield f"not all of the fleet: shard {', '.join(missing[:_SHOWN])}{more} is missing"


def _unfinished(paths: Sequence[Path], facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    for path, one in zip(paths, facts, strict=True):
        if one["left"]:
            yield f"{path}: not finished: {one['left']:,} images are left"


def _clocks(facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    clocks = sorted({one["at"] for one in facts})
    if len(clocks) > 1:
        told = ", ".join(clocks[:_SHOWN])
        yield f"certificates were judged at different moments: {told}; --at gives one to all"


def _facts(path: Path) -> dict[str, Any]:
    journal = journals.read_journal(path)
    try:
        names = ("id", "verb", "options", "versions", "at", "started", "finished", "skipped")
        with naming(path):
            return {name: journal.fact(name) for name in names} | {"left": journal.left()}
    finally:
        journal.close()


def _same(path: Path, one: dict[str, Any], first: Path, other: dict[str, Any]) -> None:
    for name in ("verb", "versions"):
        if one[name] != other[name]:
            text = f"{name} {one[name]}, but {first} has {other[name]}"
            raise UsageError("settings-differ", f"{path}: {text}")
    mine, theirs = one["options"], other["options"]
    if mine.get("clocks") != theirs.get("clocks"):
        text = "is a merged journal; merge the journals of the shards themselves, all at once"
        raise UsageError("merged-journal", f"{path if 'clocks' in mine else first}: {text}")
    for name in sorted({*mine, *theirs} - {*_OWN}):
        if mine.get(name) != theirs.get(name):
            text = f"--{name.replace('_', '-')} {mine.get(name)}, but {first} {theirs.get(name)}"
            raise UsageError("settings-differ", f"{path}: {text}")


def _add(merged: Journal, path: Path) -> None:
    database = merged.database
    with naming(path):
        database.execute("ATTACH ? AS shard", (str(path),))
        try:
            _refuse_different(merged, path)
            with merged.transaction():
                for statement in _COPIED:
                    database.execute(statement)
        finally:
            database.execute("DETACH shard")


def _refuse_different(merged: Journal, path: Path) -> None:
    query = (
        "SELECT sources.source FROM sources JOIN records USING (id) "
        "JOIN shard.sources AS theirs ON theirs.source = sources.source "
        "JOIN shard.records AS one ON one.id = theirs.id "
        "WHERE one.input_sha256 IS NOT records.input_sha256 LIMIT 1"
    )
    row = merged.database.execute(query).fetchone()
    if row is not None:
        text = f"another image under the path {os.fsdecode(row[0])} than the journals before it"
        raise UsageError("sources-clash", f"{path}: {text}")


def _joined(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The facts of the whole: the earliest clock and start, the latest end, the sum of the rest."""
    first = facts[0]
    options = dict(first["options"]) | {"shard": "1/1"}
    options["sources"] = sorted({name for one in facts for name in one["options"]["sources"]})
    skipped: dict[str, int] = {}
    for one in facts:
        for reason, number in (one["skipped"] or {}).items():
            if reason != "other-shard":
                skipped[reason] = max(skipped.get(reason, 0), number)
    ends = [one["finished"] for one in facts]
    return {
        "verb": first["verb"],
        "options": options | {"clocks": sorted({one["at"] for one in facts})},
        "versions": first["versions"],
        "at": min(one["at"] for one in facts),
        "started": min((one["started"] for one in facts if one["started"]), default=None),
        "finished": None if None in ends else max(ends),
        "skipped": skipped,
        "left": sum(one["left"] for one in facts),
        "run": 1,
    }
