"""From the SOURCE arguments to the images of a fleet, one at a time."""

from __future__ import annotations

import codecs
import glob
import hashlib
import itertools
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NamedTuple, TextIO, TypeVar

from espcert.errors import FileError, UsageError
from espcert.files import STDIN, reason_of
from espcert.fleet import manifest, patterns, places, storage, walk
from espcert.fleet.task import Source

LIST_MARK: Final = "@"
_IN_NO_PATH: Final = ("\0", "-----BEGIN ", "-----END ")
_HMAC_KEY: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_ODD: Final = ("Cc", "Cs")
"""Categories of control characters, and of bytes that were no text."""

CHUNK: Final = 256
"""Sources that are held at a time, so that a store can be asked for many at once."""

T = TypeVar("T")


class Listed(NamedTuple):
    """A source, the directory below which it was found, and what the system says of the file.

    `root` is None for one that was named.
    """

    source: Source
    found: walk.Found
    root: str | None


class _Url(NamedTuple):
    """A source that its store is still to be asked for, and whether it may stand for many.

    `top` tells whether it was an argument, which must mean something.
    """

    source: Source
    many: bool = True
    top: bool = False


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
        if places.is_url(argument) and places.is_url(storage.canonical(argument)):
            continue
        argument = places.plain(argument)
        name = argument.removeprefix(LIST_MARK)
        exists = _exists(argument) or (name != argument and _exists(name))
        if argument != STDIN and not exists and not patterns.fits(argument):
            raise UsageError("not-found", f"{argument}: no such file, and no pattern that fits one")


def _exists(name: str) -> bool:
    """Whether there is a file. Raises FileError where the system does not let us look."""
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        if glob.has_magic(name):
            return False
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error
    return True


def listed(arguments: Sequence[str], looking: walk.Walk) -> Iterator[Listed]:
    """The images that the arguments mean, in no order; some perhaps more than once.

    Raises UsageError for an argument or a manifest that cannot be understood, FileError where a
    list cannot be read or a store cannot be asked.
    """
    for chunk in batched(_all(arguments, looking), CHUNK):
        urls = [one.source.path for one in chunk if isinstance(one, _Url) and not one.top]
        seen = storage.look_at_all(urls)
        for one in chunk:
            if isinstance(one, _Url):
                yield from _remote(one, None if one.top else next(seen), looking)
            else:
                yield one


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items, some at a time."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _all(arguments: Sequence[str], looking: walk.Walk) -> Iterator[Listed | _Url]:
    for argument in map(places.plain, arguments):
        if argument == STDIN:
            yield from _lines(_stdin(), "standard input", looking)
        elif argument.startswith(LIST_MARK) and not os.path.lexists(argument):
            yield from _list(argument.removeprefix(LIST_MARK), looking)
        elif places.is_url(argument) or os.path.lexists(argument):
            yield from _path(argument, looking, top=True)
        else:
            pattern = patterns.Pattern(argument, looking)
            for path in pattern.paths():
                yield from _path(path, looking, known=pattern.places)


def _stdin() -> TextIO:
    if sys.stdin is None or sys.stdin.closed:
        raise FileError("read-failed", "standard input is closed")
    if isinstance(sys.stdin, TextIOWrapper):
        is_utf8 = codecs.lookup(sys.stdin.encoding).name == "utf-8"
        encoding = manifest.ENCODING if is_utf8 else None
        sys.stdin.reconfigure(encoding=encoding, errors="surrogateescape")
    return sys.stdin


def _list(name: str, looking: walk.Walk) -> Iterator[Listed | _Url]:
    if manifest.is_manifest(name, listed=True):
        yield from _manifest(name)
        return
    try:
        with Path(name).open(encoding=manifest.ENCODING, errors="surrogateescape") as file:
            yield from _lines(file, name, looking)
    except OSError as error:
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error


def _lines(file: TextIO, name: str, looking: walk.Walk) -> Iterator[Listed | _Url]:
    for number, line in enumerate(manifest.bounded_lines(file, name), 1):
        path = line.rstrip("\r\n")
        if _is_no_path(path):
            text = f"is no list of paths, but a dump, a key or a certificate (line {number})"
            raise UsageError("bad-list", f"{name}: {text}")
        if path:
            yield from _path(places.plain(path), looking)


def _is_no_path(line: str) -> bool:
    """Whether a line is one of a key or a dump, which no record should show.

    What is only odd may be the name of a file that is there, or of an object.
    """
    if any(mark in line for mark in _IN_NO_PATH):
        return True
    odd = _HMAC_KEY.fullmatch(line.strip()) or (not line.isprintable() and _is_odd(line))
    return bool(odd) and not places.is_url(line) and not os.path.lexists(line)


def _is_odd(line: str) -> bool:
    return any(unicodedata.category(one) in _ODD for one in line if one != "\t")


def _path(
    path: str,
    looking: walk.Walk,
    *,
    top: bool = False,
    known: dict[walk.Identity, str] | None = None,
) -> Iterator[Listed | _Url]:
    """A file or a directory; an argument itself (`top`) may be a manifest, too.

    `known` are directories that a pattern has led to, with their paths.
    """
    if places.is_url(path):
        url = storage.canonical(path)
        yield _Url(Source(url, places.stem(url)), top=top)
        return
    name = os.path.normpath(path)
    if os.path.isdir(name):  # noqa: PTH112 - it never raises
        for one in looking.below(name, known):
            path = _plain(one.path)
            source = Source(path, places.stem(path), named=False, problem=one.problem)
            yield Listed(source, one, name)
    elif top and os.path.isfile(name) and manifest.is_manifest(name):  # noqa: PTH113
        yield from _manifest(name)
    else:
        yield _named(Source(name, places.stem(name)))


def _plain(path: str) -> str:
    """Without the `./` in front of what lies in the current directory."""
    return path.removeprefix(f".{os.sep}")


def _remote(one: _Url, seen: storage.Seen | None, looking: walk.Walk) -> Iterator[Listed]:
    """What a URL means: an object, all objects below it, or those that fit it as a pattern."""
    from espcert.fleet import remote

    source = one.source
    seen = seen or remote.look(source.path)
    if seen.is_directory and one.many:
        for found in remote.below(source.path, looking):
            below = Source(found.path, places.stem(found.path), named=False)
            yield Listed(below, found, source.path)
    elif seen.found is None and one.many and glob.has_magic(source.path):
        fitting = list(remote.fitting(source.path, looking))
        if one.top and not fitting:
            raise UsageError("not-found", f"{source.path}: no object, and none that fits it")
        for url in fitting:
            again = _Url(Source(url, places.stem(url)), top=True)
            yield from _remote(again, None, looking)
    elif seen.found is None and one.top:
        raise UsageError("not-found", f"{source.path}: no such object")
    else:
        yield Listed(source, seen.found or walk.Found(source.path, None, None, None), None)


def _manifest(name: str) -> Iterator[Listed | _Url]:
    for source in manifest.read(name):
        if places.is_url(source.path):
            url = storage.canonical(source.path)
            yield _Url(source._replace(path=url), many=False)
        else:
            yield _named(source)


def _named(source: Source) -> Listed:
    """A source that was named; one that is not there gets a record that says so."""
    try:
        status = os.stat(source.path)  # noqa: PTH116 - of a million paths
    except (OSError, ValueError):
        return Listed(source, walk.Found(source.path, None, None, None), None)
    return Listed(source, walk.found(source.path, status), None)
