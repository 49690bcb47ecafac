"""From the SOURCE arguments to the images of a fleet, one at a time."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from espcert.errors import FileError, UsageError
from espcert.files import STDIN, reason_of
from espcert.fleet import manifest, storage, walk
from espcert.fleet.task import Source

LIST_MARK: Final = "@"


class Listed(NamedTuple):
    """A source, the directory below which it was found, and what the system says of the file.

    `root` is None for one that was named.
    """

    source: Source
    found: walk.Found
    root: str | None


@dataclass(frozen=True, slots=True)
class Shard:
    """Every `count`-th source, by the hash of its path; `number` counts from 1."""

    number: int = 1
    count: int = 1

    def __contains__(self, path: str) -> bool:
        if self.count == 1:
            return True
        digest = hashlib.sha256(os.fsencode(Path(path).as_posix())).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


ALL: Final = Shard()


def parse_shard(text: str) -> Shard:
    """A shard of `I/N`. Raises UsageError."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 1_000_000:
        return Shard(int(number), int(count))
    raise UsageError("bad-shard", f"--shard {text}: expected I/N, with I from 1 to N")


def check(arguments: Sequence[str]) -> None:
    """Raise UsageError for an argument that names nothing, before any work is done."""
    if list(arguments).count(STDIN) > 1:
        raise UsageError("stdin-twice", "standard input (-) can be read only once")
    for argument in arguments:
        storage.refuse_url(argument)
        name = argument.removeprefix(LIST_MARK)
        exists = os.path.lexists(argument) or (name != argument and os.path.lexists(name))
        if argument != STDIN and not exists and not _fits(argument):
            raise UsageError("not-found", f"{argument}: no such file, and no pattern that fits one")


def _fits(pattern: str) -> bool:
    return next(glob.iglob(pattern, recursive=True), None) is not None  # noqa: PTH207


def listed(arguments: Sequence[str], looking: walk.Walk) -> Iterator[Listed]:
    """The images that the arguments mean, in no order; some perhaps more than once.

    Raises UsageError for an argument or a manifest that cannot be understood, FileError where a
    list cannot be read.
    """
    for argument in arguments:
        if argument == STDIN:
            yield from _lines(_stdin(), "standard input", looking)
        elif argument.startswith(LIST_MARK) and not os.path.lexists(argument):
            yield from _list(argument.removeprefix(LIST_MARK), looking)
        elif os.path.lexists(argument):
            yield from _path(argument, looking, top=True)
        else:
            for path in glob.iglob(argument, recursive=True):  # noqa: PTH207 - as a shell does it
                yield from _path(path, looking)


def _stdin() -> TextIO:
    if sys.stdin is None or sys.stdin.closed:
        raise FileError("read-failed", "standard input is closed")
    return sys.stdin


def _list(name: str, looking: walk.Walk) -> Iterator[Listed]:
    if manifest.is_manifest(name):
        yield from _manifest(name)
        return
    try:
        with Path(name).open(encoding="utf-8", errors="surrogateescape") as file:
            yield from _lines(file, name, looking)
    except OSError as error:
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error


def _lines(file: TextIO, name: str, looking: walk.Walk) -> Iterator[Listed]:
    for line in manifest.bounded_lines(file, name):
        path = line.rstrip("\r\n")
        if path:
            storage.refuse_url(path)
            yield from _path(path, looking)


def _path(path: str, looking: walk.Walk, *, top: bool = False) -> Iterator[Listed]:
    """A file or a directory; an argument itself (`top`) may be a manifest, too."""
    name = os.path.normpath(path)
    if os.path.isdir(name):  # noqa: PTH112 - it never raises
        for one in looking.below(name):
            source = Source(_plain(one.path), _stem(one.path), named=False, problem=one.problem)
            yield Listed(source, one, name)
    elif top and os.path.isfile(name) and manifest.is_manifest(name):  # noqa: PTH113
        yield from _manifest(name)
    else:
        yield _named(Source(name, _stem(name)))


def _plain(path: str) -> str:
    """Without the `./` in front of what lies in the current directory."""
    return path.removeprefix(f".{os.sep}")


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - of a million paths


def _manifest(name: str) -> Iterator[Listed]:
    for source in manifest.read(name):
        storage.refuse_url(source.path)
        yield _named(source)


def _named(source: Source) -> Listed:
    """A source that was named; one that is not there gets a record that says so."""
    try:
        status = os.stat(source.path)  # noqa: PTH116 - of a million paths
    except (OSError, ValueError):
        return Listed(source, walk.Found(source.path, None, None, None), None)
    return Listed(source, walk.found(source.path, status), None)
