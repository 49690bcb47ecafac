"""Paths and URLs as names: what lies below what, without looking whether anything is there."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from espcert.errors import UsageError

MARK: Final = "://"
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.ASCII | re.IGNORECASE)
_FILE: Final = "file"
_WEB: Final = ("http", "https")


def is_url(path: str) -> bool:
    """Whether a path is to be opened by other means than the file system."""
    return _URL.match(path) is not None


def plain(path: str) -> str:
    """A path as it is, a `file://` URL as the path that it means, another URL as it is.

    Raises UsageError for a URL that holds what no record should (a password, a signature), and for
    one that has fsspec look for one URL inside another.
    """
    if not is_url(path):
        return path
    if "::" in path:
        raise UsageError("bad-url", f"{shown(path)}: `::` chains URLs, which are not followed")
    scheme, _, rest = path.partition(MARK)
    if scheme.lower() == _FILE:
        return _local(path)
    if "@" in rest.split("/", 1)[0] or (scheme.lower() in _WEB and "?" in rest):
        text = "holds a user, password or signature, which every record would show"
        raise UsageError("secret-url", f"{shown(path)}: {text}; let the environment have it")
    return path


def shown(url: str) -> str:
    """A URL without what may be a secret."""
    return f"{url.partition(':')[0]}{MARK}..."


def _local(url: str) -> str:
    try:
        parts = urlsplit(url)
        path = url2pathname(parts.path)
    except (OSError, ValueError) as error:
        raise UsageError("bad-url", f"{shown(url)}: is no URL of a file") from error
    if parts.netloc not in ("", "localhost") or not path:
        raise UsageError("bad-url", f"{shown(url)}: expected file:///PATH")
    return path


def is_absolute(path: str) -> bool:
    """Whether a path means the same in every directory."""
    return is_url(path) or os.path.isabs(path)  # noqa: PTH117 - of a million paths


def beside(path: str, base: str) -> str:
    """A path that was written relative to a directory."""
    if is_url(path):
        return plain(path)
    return os.path.normpath(os.path.join(base, path))  # noqa: PTH118 - of a million paths


def stem(path: str) -> str:
    """The name of a file without its suffix: the id of an image that has no other one.

    As pathlib takes it: a dot that begins or ends the name begins no suffix.
    """
    name = os.path.basename(path)  # noqa: PTH119 - of a million paths
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def parent(path: str) -> str:
    """The directory in which something lies."""
    if not is_url(path):
        return os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - of a million paths
    scheme, _, rest = path.partition(MARK)
    return f"{scheme}{MARK}{rest.rstrip('/').rpartition('/')[0]}"


def common(one: str, two: str) -> str:
    """The longest directory above two. Raises UsageError where there is none."""
    if is_url(one) or is_url(two):
        return _common_url(one, two)
    try:
        return os.path.commonpath([one, two])
    except ValueError as error:
        raise _apart(one, two) from error


def _common_url(one: str, two: str) -> str:
    pairs = zip(_parts(one), _parts(two), strict=False)
    shared = [part for part, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    if len(shared) < 2:
        raise _apart(one, two)
    return shared[0] + MARK + "/".join(shared[1:])


def _parts(url: str) -> list[str]:
    """The scheme and the directories of a URL."""
    scheme, _, rest = url.partition(MARK)
    return [scheme, *rest.split("/")]


def _apart(one: str, two: str) -> UsageError:
    return UsageError("bad-source", f"{one} and {two}: nothing holds both; run them one by one")


def below(directory: str, path: str, base: str) -> str:
    """Where something lies below a directory that lies so below its base.

    Raises UsageError where an object's name is no path: it could lead out of the directory.
    """
    if not is_url(path):
        relative = os.path.relpath(path, base)
    else:
        relative = path[len(base.rstrip("/")) + 1 :]
        if not _is_path(relative, local=not is_url(directory)):
            text = "its name is no path that can be written; a manifest may name its output"
            raise UsageError("bad-source", f"{path}: {text}")
    return joined(directory, relative)


def _is_path(name: str, *, local: bool) -> bool:
    parts = name.split("/")
    odd = local and (os.path.splitdrive(name)[0] or (os.sep != "/" and os.sep in name))
    return not odd and "\0" not in name and not {"", ".", ".."}.intersection(parts)


def joined(directory: str, relative: str) -> str:
    """A path below a directory."""
    if is_url(directory):
        return f"{directory.rstrip('/')}/{Path(relative).as_posix()}"
    return os.path.join(directory, relative)  # noqa: PTH118 - of a million paths
