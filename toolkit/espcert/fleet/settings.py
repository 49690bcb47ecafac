"""What a run is asked for, and that a journal is gone on with as it was begun."""

from __future__ import annotations

import dataclasses
import os
import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from espcert.errors import UsageError
from espcert.fleet import places, work
from espcert.fleet.journal import Journal
from espcert.fleet.sources import ALL, Shard
from espcert.fleet.task import Task
from espcert.inspection import time_text
from espcert_formats.checksum import sha256

_NOT_KEPT: Final = ("verb", "at", "force", "mark", "run")
_OF_MIGRATION: Final = ("size", "accept", "integrity", "partition_only", "encrypted")


@dataclass(frozen=True, slots=True)
class Request:
    """A run as it is asked for: SOURCE arguments, what to do with each, and where to write.

    `output` is the directory of a migration. `at_given` tells whether the clock was given: where
    it was not, that of the journal counts. `reports` are the files of this run's reports.
    `elsewhere` tells whether other machines do the work, with directories of their own.
    """

    arguments: tuple[str, ...]
    task: Task
    output: str | None = None
    shard: Shard = ALL
    rehash: bool = False
    at_given: bool = False
    reports: tuple[str, ...] = ()
    elsewhere: bool = False

    def check_paths(self, *paths: str | None) -> None:
        """Raise UsageError for a relative path where the workers may not know what it means."""
        for path in paths if self.elsewhere else ():
            if path is not None and not places.is_absolute(path):
                text = "is relative, but a cluster's workers have other directories"
                raise UsageError("relative-path", f"{path}: {text}; give the whole path")


def versions() -> dict[str, str]:
    """What the answers depend on besides the images."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {name: version(name) for name in ("espcert", "cryptography")} | {"Python": python}


def options(request: Request) -> dict[str, Any]:
    """Everything that the records depend on, by the option's name; of keys only where they lie.

    Of certificates, which are public, also the digest of what the file holds.
    """
    given = dataclasses.asdict(request.task)
    kept = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    if request.output is None:
        kept = {name: value for name, value in kept.items() if name not in _OF_MIGRATION}
    kept["ca"] = [f"{name} sha256:{sha256(work.read_key_file(name))}" for name in request.task.ca]
    shard = request.shard
    kept["shard"] = f"{shard.number}/{shard.count}"
    kept["output"] = request.output
    kept["sources"] = list(request.arguments)
    given_paths = (*request.arguments, request.output, *_paths(request.task))
    if not all(name is None or places.is_absolute(name) for name in given_paths):
        kept["directory"] = os.getcwd()  # noqa: PTH109
    return {name: list(one) if isinstance(one, tuple) else one for name, one in kept.items()}


def _paths(task: Task) -> tuple[str | None, ...]:
    return (task.hmac_keys, *task.ca, task.signing_key, task.key_password)


def same_settings(journal: Journal, request: Request) -> None:
    """Begin a journal with these settings, or raise UsageError that names what differs."""
    facts: dict[str, Any] = {"verb": request.task.verb, "options": options(request)}
    facts["versions"] = versions()
    stored = {name: journal.fact(name) for name in facts}
    if stored["verb"] is None:
        for name, value in (facts | {"at": time_text(request.task.at)}).items():
            journal.set_fact(name, value)
        return
    if stored["verb"] != facts["verb"]:
        text = f"fleet was {stored['verb']}, and is {facts['verb']}; name another --journal"
        raise UsageError("settings-differ", f"{journal.path}: {text}")
    if "clocks" in stored["options"]:
        text = "is a merged journal, which no run goes on with; `espcert fleet report` reads it"
        raise UsageError("merged-journal", f"{journal.path}: {text}")
    different = _different("--", stored["options"], facts["options"])
    different += _different("", stored["versions"], facts["versions"])
    at = time_text(request.task.at)
    if request.at_given and at != journal.fact("at"):
        different.append(f"--at was {journal.fact('at')} and is {at}")
    if different:
        text = f"{'; '.join(different)}. The journal was begun so: go on so, or begin another one"
        raise UsageError("settings-differ", f"{journal.path}: {text}")


def _different(prefix: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    names = sorted({*old, *new})
    changed = [name for name in names if old.get(name) != new.get(name)]
    return [
        f"{_option(prefix, name)} was {old.get(name)} and is {new.get(name)}" for name in changed
    ]


def _option(prefix: str, name: str) -> str:
    """What a user calls a setting."""
    if prefix != "--" or name in ("sources", "directory"):
        return name
    return prefix + name.replace("_", "-")


def clock(journal: Journal, given: Task) -> datetime:
    """The clock that the journal was begun with."""
    stored = journal.fact("at")
    return datetime.fromisoformat(stored.replace("Z", "+00:00")) if stored else given.at
