"""Begin a run, or go on with one: settings, journal and plan."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, NamedTuple

from espcert import files, migration, verification
from espcert.errors import FileError, UsageError
from espcert.fleet import journal as journals
from espcert.fleet import places, plan, reporting, settings, sources, storage, work
from espcert.fleet.journal import Journal
from espcert.fleet.plan import Plan
from espcert.fleet.settings import Request
from espcert.fleet.task import MIGRATE, Task
from espcert.inspection import time_text

JOURNAL: Final = ".espcert-fleet.sqlite"
"""In the directory of a migration, where no other journal is named."""


class Begun(NamedTuple):
    """A run that is planned: its task has the journal's clock."""

    journal: Journal
    plan: Plan
    task: Task


def begin(request: Request, path: Path | None) -> Begun:
    """Check all that was asked for, open the journal, and plan.

    Where this raises (UsageError, FileError) nothing was done: neither a journal nor a directory
    is there that was not there before.
    """
    if request.output is not None:
        request = replace(request, output=storage.canonical(request.output))
    check(request)
    _check_journal(request, path)
    remote = request.output is None or places.is_url(request.output)
    made = None if remote else _made(Path(str(request.output)))
    try:
        return _planned(request, path)
    except BaseException:
        for directory in made or ():
            if not any(directory.iterdir()):
                directory.rmdir()
        raise


def check(request: Request) -> None:
    """Raise UsageError or FileError for what could not work with any image."""
    task = request.task
    request.check_paths(request.output, task.hmac_keys, *task.ca)
    request.check_paths(task.signing_key, task.key_password)
    sources.check(request.arguments)
    work.check(task)
    if task.verb == MIGRATE:
        means = verification.means(at=task.at, chip=task.chip)
        migration.Options(task.size, accept=frozenset(task.accept), means=means)
    if task.hmac_keys is not None and not Path(task.hmac_keys).is_dir():
        raise UsageError("not-found", f"--hmac-keys {task.hmac_keys}: no such directory")


def _check_journal(request: Request, path: Path | None) -> None:
    if path is None and request.output is not None and places.is_url(request.output):
        text = "needs --journal FILE, a file here: an object store cannot hold one"
        raise UsageError("no-journal", f"-o {request.output}: {text}")


def _made(directory: Path) -> list[Path]:
    """Make a directory; those that were not there before, the innermost first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError("not-a-directory", f"-o {directory}: is not a directory") from error
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("write-failed", f"-o {directory}: cannot be made: {reason}") from error
    return missing


def journal_of(request: Request, path: Path | None) -> Path | None:
    """Where the journal of a run is: what was asked for, or in the directory of a migration."""
    output = None if request.output is None else places.plain(request.output)
    if path is not None or output is None or places.is_url(output):
        return path
    return Path(output) / JOURNAL


def _planned(request: Request, path: Path | None) -> Begun:
    path = journal_of(request, path)
    fresh = path is None or not os.path.lexists(path)
    journal = journals.create_temporary() if path is None else journals.open_journal(path)
    try:
        task = replace(
            request.task, at=settings.clock(journal, request.task), mark=journal.fact("id")
        )
        reports = [Path(name) for name in request.reports]
        reporting.refuse_foreign(journal, reports, force=request.task.force)
        planned = plan.prepare(journal, request)
        if journal.fact("started") is None:
            journal.set_fact("started", _now())
        if planned.left:
            journal.set_fact("finished", None)
        return Begun(journal, planned, replace(task, run=planned.run))
    except BaseException:
        journal.close()
        if fresh and path is not None:
            for file in journals.files_of(path):
                file.unlink(missing_ok=True)
        raise


def end(journal: Journal) -> None:
    """Note that all images are done."""
    with journal.transaction():
        journal.set_fact("finished", _now())


def _now() -> str | None:
    return time_text(datetime.now(timezone.utc))
