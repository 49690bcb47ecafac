"""Patterns of paths, for shells that did not expand them: what fits, each directory once."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from espcert.fleet.walk import LOOP, Identity, Walk, identity_of, status_of

SEP: Final = os.sep
_DEEP: Final = "**"
_ALL: Final = "*"


def fits(pattern: str) -> bool:
    """Whether there is anything that fits."""
    return next(Pattern(pattern, Walk(0)).paths(), None) is not None


class Pattern:
    """A pattern, and the directories that it has led to: `**` goes through each only once.

    What it may not go through is what `looking` avoids, which is counted there, once.
    """

    def __init__(self, pattern: str, looking: Walk) -> None:
        pattern = pattern.replace(os.altsep or SEP, SEP)
        parts = re.sub(f"{re.escape(SEP)}+", lambda _: SEP, pattern).split(SEP)
        while parts[-1:] in ([""], [_ALL]) and _DEEP in parts[-2:-1]:
            parts.pop()
        self._parts = parts
        self._looking = looking
        self._gone_through: defaultdict[int, set[Identity]] = defaultdict(set)
        self._left_out: set[tuple[str, str]] = set()
        self.places: dict[Identity, str] = {}
        """The path by which a directory was come to first: by another one it is a loop."""

    def paths(self) -> Iterator[str]:
        """The files that fit; then the directories, those that are links last."""
        directories: list[str] = []
        magic = (at for at, part in enumerate(self._parts) if glob.has_magic(part))
        named = next(magic, len(self._parts))
        for path in self._fitting(self._parts, named):
            name = os.path.normpath(path)
            if os.path.isdir(name):  # noqa: PTH112 - it never raises
                directories.append(name)
            elif not self._avoided(name):
                yield name
        for name in sorted(directories, key=lambda one: (os.path.islink(one), one)):  # noqa: PTH114
            if not self._avoided(name) and self._is_first(name):
                yield name

    def _fitting(self, parts: list[str], named: int) -> Iterator[str]:
        """What fits these parts; the first `named` lead to where nothing is to be avoided."""
        if _DEEP not in parts:
            yield from self._plain(parts, named)
            return
        at = parts.index(_DEEP)
        rest = parts[at + 1 :]
        for base in self._plain(parts[:at], named):
            if at > named and self._avoided(base):
                continue
            base = base or os.curdir
            if not rest:
                yield from [base] if os.path.isdir(base) else []  # noqa: PTH112
                continue
            for folder in self._through(base, len(rest)):
                escaped = glob.escape(folder).split(SEP)
                yield from self._fitting([*escaped, *rest], len(escaped))

    def _plain(self, parts: list[str], named: int) -> Iterator[str]:
        """What fits parts without `**`, and does not lie in what is avoided."""
        if not "".join(parts):
            yield SEP * (len(parts) > 0)
            return
        for path in glob.iglob(SEP.join(parts)):  # noqa: PTH207 - as a shell does it
            found = path.split(SEP)
            folders = (SEP.join(found[:end]) for end in range(named + 1, len(found)))
            if not any(self._avoided(folder) for folder in folders):
                yield path

    def _through(self, root: str, left: int) -> Iterator[str]:
        """A directory and those below it, which are not hidden; links come last."""
        seen = self._gone_through[left]
        directories, links = [root], list[str]()
        while directories or links:
            folder = directories.pop() if directories else links.pop(0)
            status = status_of(folder)
            if status is None or not stat.S_ISDIR(status.st_mode):
                continue
            identity = identity_of(status)
            if identity in seen:
                if folder != root:
                    self._leave_out(LOOP, folder)
                continue
            seen.add(identity)
            self.places.setdefault(identity, os.path.normpath(folder))
            yield folder
            for entry in _directories(folder):
                if not self._avoided(entry.path):
                    (links if entry.is_symlink() else directories).append(entry.path)

    def _is_first(self, folder: str) -> bool:
        status = status_of(folder)
        first = status is None or self.places.get(identity_of(status), folder) == folder
        if not first:
            self._leave_out(LOOP, folder)
        return first

    def _avoided(self, path: str) -> bool:
        status = status_of(path) if self._looking.avoided else None
        reason = None if status is None else self._looking.avoided.get(identity_of(status))
        if reason is not None:
            self._leave_out(reason, path)
        return reason is not None

    def _leave_out(self, reason: str, path: str) -> None:
        one = (reason, os.path.normpath(path))
        if one not in self._left_out:
            self._left_out.add(one)
            self._looking.skipped[reason] += 1


def _directories(folder: str) -> list[os.DirEntry[str]]:
    """The directories in one, links too; none where the system does not let us look."""
    try:
        with os.scandir(folder) as entries:
            return [one for one in entries if not one.name.startswith(".") and one.is_dir()]
    except OSError:
        return []
