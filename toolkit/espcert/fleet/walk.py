"""Look through directories for images: by content and not by name, each directory once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from espcert.files import reason_of
from espcert.fleet.storage import version_of

HIDDEN: Final = "hidden"
OUTPUT: Final = "output"
JOURNAL: Final = "journal"
KEYS: Final = "keys"
TOO_LARGE: Final = "too-large"
LOOP: Final = "loop"
NOT_REGULAR: Final = "not-regular"
DANGLING: Final = "dangling-link"
EMPTY_NAME: Final = "empty-name"

Identity = tuple[int, int]
"""Device and inode: what tells one file from another."""


class Found(NamedTuple):
    """A file, what it is by its metadata, and why it cannot be read, where that is known."""

    path: str
    size: int | None
    version: str | None
    inode: Identity | None
    problem: str | None = None


@dataclass
class Walk:
    """What is left out when directories are looked through, and how much was.

    `avoided` are files and directories by their identity, with the reason; `skipped` counts by
    reason. `key_directory` is one whose files with the suffix .hex are keys, `remote_output` the
    URL below which outputs are written.
    """

    max_size: int
    avoided: dict[Identity, str] = field(default_factory=dict)
    key_directory: Identity | None = None
    remote_output: str | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def below(self, root: str, places: dict[Identity, str] | None = None) -> Iterator[Found]:
        """The regular files below a directory, links followed; a directory is seen only once.

        Directories that are links come last, so that a file is found by its shortest way.
        `places` are directories that other walks have come to, with their paths; they are
        looked through by these alone.
        """
        seen: set[Identity] = set()
        places = {} if places is None else places
        directories, links = [root], list[str]()
        while directories or links:
            folder = directories.pop() if directories else links.pop(0)
            status = status_of(folder)
            identity = None if status is None else identity_of(status)
            known = identity in seen or (identity and places.setdefault(identity, folder) != folder)
            if identity is None or known:
                self.skipped[LOOP if identity else DANGLING] += 1
                continue
            seen.add(identity)
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        kind = self._kind(entry, identity)
                        if kind == "directory":
                            (links if entry.is_symlink() else directories).append(entry.path)
                        elif kind == "file":
                            yield from self._file(entry)
            except OSError as error:
                yield Found(folder, None, None, None, reason_of(error))

    def _kind(self, entry: os.DirEntry[str], parent: Identity) -> str:
        """`directory`, `file`, or nothing where the entry is skipped."""
        if entry.name.startswith("."):
            self.skipped[HIDDEN] += 1
            return ""
        if parent == self.key_directory and entry.name.endswith(".hex"):
            self.skipped[KEYS] += 1
            return ""
        if not _is_directory(entry):
            return "file"
        return "" if self._avoids(entry) else "directory"

    def _avoids(self, entry: os.DirEntry[str]) -> bool:
        status = status_of(entry.path)
        reason = None if status is None else self.avoided.get(identity_of(status))
        if reason is not None:
            self.skipped[reason] += 1
        return reason is not None

    def _file(self, entry: os.DirEntry[str]) -> Iterator[Found]:
        try:
            status = entry.stat()
        except FileNotFoundError:
            self.skipped[DANGLING] += 1
            return
        except OSError as error:
            if entry.is_symlink():
                self.skipped[LOOP] += 1
                return
            yield Found(entry.path, None, None, None, reason_of(error))
            return
        reason = self._reason(status)
        if reason is None:
            yield found(entry.path, status)
        else:
            self.skipped[reason] += 1

    def _reason(self, status: os.stat_result) -> str | None:
        if not stat.S_ISREG(status.st_mode):
            return NOT_REGULAR
        if status.st_size > self.max_size:
            return TOO_LARGE
        return self.avoided.get(identity_of(status)) if self.avoided else None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def found(path: str, status: os.stat_result) -> Found:
    """A file by what the system says of it."""
    return Found(path, status.st_size, version_of(status), identity_of(status))


def identities(paths: Collection[str], reason: str) -> dict[Identity, str]:
    """Files and directories that are there, by identity, to be avoided for a reason."""
    known = map(identity_at, paths)
    return {identity: reason for identity in known if identity is not None}


def identity_at(path: str) -> Identity | None:
    """What tells a file or directory from others; None where it is not there."""
    status = status_of(path)
    return None if status is None else identity_of(status)


def status_of(path: str) -> os.stat_result | None:
    """What the system says of a file, links followed; None where it says nothing."""
    try:
        return os.stat(path)  # noqa: PTH116 - of a million paths
    except (OSError, ValueError):
        return None


def identity_of(status: os.stat_result) -> Identity:
    """What tells a file from all others."""
    return status.st_dev, status.st_ino
