"""What a journal has to report, and the files that tell it, by their suffixes."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from espcert import files
from espcert.errors import EspcertError, FileError, UsageError
from espcert.fleet import across, kept, redaction
from espcert.fleet.journal import Journal, naming
from espcert.fleet.kept import Kept
from espcert.fleet.reports import reasons
from espcert.fleet.work import Record

WRITERS: Final = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".sarif": "sarif",
    ".xml": "junit",
    ".html": "html",
}
"""Modules of `espcert.fleet.reports`, by the suffix of the file that they write."""

EXTRAS: Final = {"parquet": ("pyarrow", "parquet"), "html": ("jinja2", "report")}
"""What a writer needs besides espcert: the package, and the extra that installs it."""


class FleetReport:
    """The records of a journal, sorted by source, with what is known of the run.

    With `redacted` paths, subjects and serials are digests.
    """

    def __init__(self, journal: Journal, *, redacted: bool = False) -> None:
        self._journal = journal
        self._redacted = redacted

    @functools.cached_property
    def header(self) -> Mapping[str, Any]:
        """Tool, version, verb, options, clock, digest and counts of the run.

        `total` counts the records, `left` the sources that the run has not come to.
        """
        with naming(self._journal.path):
            return self._header()

    def _header(self) -> Mapping[str, Any]:
        journal = self._journal
        names = ("verb", "options", "versions", "at", "started", "finished")
        header = {"tool": "espcert", "version": (journal.fact("versions") or {}).get("espcert")}
        header |= {name: journal.fact(name) for name in names}
        header["journal_sha256"] = self._digest()
        header["skipped"] = journal.fact("skipped") or {}
        header["total"] = sum(journal.counts("status").values())
        header["left"] = journal.left()
        header["across"] = self.across_counts
        header["verdicts"] = journal.verdicts()
        return redaction.redact_header(header) if self._redacted else header

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the run; not redacted."""
        return self._journal.fact("options") or {}

    def _digest(self) -> str:
        """Of all records in order of their sources: what was found, whoever tells it later."""
        hashed = hashlib.sha256()
        for record in self._journal.records():
            hashed.update(json.dumps(record, sort_keys=True).encode() + b"\n")
        return hashed.hexdigest()

    @functools.cached_property
    def across(self) -> Sequence[Mapping[str, Any]]:
        """Findings across the fleet, each with the first of the sources that it concerns."""
        found = across.findings(self._journal)
        return [redaction.redact_across(one) for one in found] if self._redacted else found

    @functools.cached_property
    def across_counts(self) -> Mapping[str, int]:
        """How many findings across the fleet there are of each code, those not told, too."""
        return across.counts(self._journal)

    def failures(self, most: int) -> list[Mapping[str, Any]]:
        """The first images that failed, the worst first, with their findings as they counted."""
        with naming(self._journal.path):
            found = self._journal.failures(most)
        told = [redaction.redact(record) if self._redacted else record for record in found]
        return [reasons.judged(record, self.options) for record in told]

    def records(self) -> Iterator[Record]:
        """All records, sorted by source; may be asked for several times."""
        with naming(self._journal.path):
            for record in self._journal.records():
                yield redaction.redact(record) if self._redacted else record


_EXACT: Final = (".jsonl", ".parquet")
"""Endings of reports that hold every record as it is."""
_PAGE: Final = "html"


def check(paths: Sequence[Path], needed: Kept, *, force: bool) -> None:
    """Raise for a report that could not be written, before any work is done.

    UsageError, also for one in the place of a file that is `needed`; FileError where its directory
    takes no file.
    """
    seen: set[str] = set()
    for path in paths:
        place = files.place_of(path)
        if place in seen:
            raise UsageError("bad-report", f"{path}: given twice")
        seen.add(place)
        writer = WRITERS.get(path.suffix.lower())
        if writer is None:
            raise UsageError("bad-report", f"{path}: expected one of {', '.join(WRITERS)}")
        package, extra = EXTRAS.get(writer, (None, None))
        if package is not None and not _is_there(package):
            text = f"needs {package}: pip install 'espcert[{extra}]'"
            raise UsageError("missing-extra", f"{path}: {text}")
        kept.refuse([path], needed)
        files.check_output(path, force=force)
        files.check_directory(path)


def _is_there(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def write(report: FleetReport, paths: Sequence[Path], *, force: bool) -> None:
    """Write each report, complete or not at all. Raises UsageError, FileError."""
    exact = _exact(paths)
    for path in paths:
        _write(report, path, exact, force=force)


def _exact(paths: Sequence[Path]) -> str | None:
    return next((path.name for path in paths if path.suffix.lower() in _EXACT), None)


def _write(report: FleetReport, path: Path, exact: str | None, *, force: bool) -> None:
    writer = WRITERS[path.suffix.lower()]
    module = importlib.import_module(f"espcert.fleet.reports.{writer}")
    # A page holds so many rows; it names the report that holds them all.
    options = {"full_report": exact} if writer == _PAGE else {}
    module.write(report, path, force=force, **options)


# --- Reports that a journal knows ----------------------------------------------------------------

_REPORTS: Final = "reports"
"""The fact that holds the digest of each report by its place."""


def refuse_foreign(journal: Journal, paths: Sequence[Path], *, force: bool) -> None:
    """Raise UsageError for a file in the place of a report that no run with this journal wrote."""
    for path in paths:
        if os.path.lexists(path) and not force and not _is_ours(journal, path):
            files.check_output(path, force=False)


class Written(NamedTuple):
    """The reports that were written, and what the first of the others failed with."""

    paths: list[Path]
    failure: EspcertError | None


def write_noted(
    report: FleetReport, journal: Journal, paths: Sequence[Path], *, force: bool
) -> Written:
    """Write the reports of a run, and note each in its journal, whose later starts replace it.

    Raises FileError where the journal cannot be written.
    """
    written, failure = list[Path](), None
    exact = _exact(paths)
    for path in paths:
        try:
            _write(report, path, exact, force=force or _is_ours(journal, path))
            digest = _sha256_of(path)
        except EspcertError as error:
            failure = failure or error
            continue
        with journal.transaction():
            noted = journal.fact(_REPORTS) or {}
            journal.set_fact(_REPORTS, noted | {files.place_of(path): digest})
        written.append(path)
    return Written(written, failure)


def _is_ours(journal: Journal, path: Path) -> bool:
    noted = (journal.fact(_REPORTS) or {}).get(files.place_of(path))
    return noted is not None and path.is_file() and _sha256_of(path) == noted


def _sha256_of(path: Path) -> str:
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(files.CHUNK):
                hashed.update(data)
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("read-failed", f"{path}: cannot be read: {reason}") from error
    return hashed.hexdigest()
