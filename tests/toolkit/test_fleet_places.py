"""Names of paths and URLs, and what fsspec makes of them, in memory."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espcert.errors import FileError, UnreadableError, UsageError
from espcert.fleet import places, remote, storage, walk

fsspec = pytest.importorskip("fsspec")

SECRET = "hunter2"


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL below which there is nothing."""
    system = fsspec.filesystem("memory")
    yield f"memory:///{secrets.token_hex(4)}"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a/b", "a/b"),
        ("C://b", "C://b"),
        ("s3://b/x y", "s3://b/x y"),
        ("file:///a/b%20c", "/a/b c"),
        ("FILE:///a", "/a"),
        ("file://localhost/a", "/a"),
    ],
)
def test_names_as_they_are(path: str, plain: str) -> None:
    assert places.plain(path) == plain


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@bucket/x",
        f"ftp://{SECRET}@host/x",
        f"https://host/x?X-Amz-Signature={SECRET}",
        f"HTTPS://host/x?X-Amz-Signature={SECRET}",
        f"file://user:{SECRET}@host/x",
        f"file://[{SECRET}/x",
        f"s3::{SECRET}",
        f"simplecache::s3://{SECRET}/x",
        f"zip://{SECRET}::s3://x",
    ],
)
def test_urls_that_no_record_may_hold(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        places.plain(url)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("scheme", ["nowhere", "github"])
def test_a_url_that_cannot_be_opened_is_not_shown(scheme: str) -> None:
    with pytest.raises(UsageError) as caught:
        storage.canonical(f"{scheme}://host/x?Signature={SECRET}")
    assert caught.value.code == "bad-url"
    assert SECRET not in caught.value.message


def test_a_url_of_a_server_that_is_not_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FileError, match=r"ftp://\.\.\.: cannot be opened: Conn"):
            storage.canonical("ftp://{}:{}/x".format(*closed.getsockname()))


@pytest.mark.parametrize(
    ("one", "two", "common"),
    [
        ("/a/b", "/a/c", "/a"),
        ("s3://x/a/b", "s3://x/a/c", "s3://x/a"),
        ("s3://x/ab", "s3://x/ac", "s3://x"),
        ("s3://x", "s3://x", "s3://x"),
        ("s3://x/a", "s3://y/a", None),
        ("s3://x/a", "gs://x/a", None),
        ("s3://x/a", "/x/a", None),
    ],
)
def test_what_holds_both(one: str, two: str, common: str | None) -> None:
    if common is not None:
        assert places.common(one, two) == places.common(two, one) == common
        return
    with pytest.raises(UsageError, match="nothing holds both"):
        places.common(one, two)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a//x", "./x", "a/", "", "a\0b"])
@pytest.mark.parametrize("directory", ["/out", "s3://other/out"])
def test_an_objects_name_that_is_no_path(name: str, directory: str) -> None:
    with pytest.raises(UsageError, match="no path that can be written"):
        places.below(directory, f"s3://x/in/{name}", "s3://x/in")


@given(st.text(max_size=30))
def test_no_object_is_written_elsewhere(name: str) -> None:
    try:
        written = places.below("/out/dir", f"s3://x/in/{name}", "s3://x/in")
    except UsageError:
        return
    assert Path(written).resolve().is_relative_to("/out/dir")


def test_places_below() -> None:
    assert places.below("/out", "s3://x/in/a/b.bin", "s3://x/in") == "/out/a/b.bin"
    assert places.below("s3://x/out/", "/in/a/b.bin", "/in") == "s3://x/out/a/b.bin"
    assert places.below("gs://y", "s3://x/in/b", "s3://x/in") == "gs://y/b"
    assert places.parent("s3://x/in/b") == "s3://x/in"


# --- Objects -------------------------------------------------------------------------------------


def test_bytes_come_back(memory: str) -> None:
    url = f"{memory}/a/b.bin"
    storage.write(url, b"one", force=False, ours=None, mark="")
    stored = storage.read(url, 3)
    assert stored.data == b"one"
    assert stored.version
    assert storage.existing([url, f"{memory}/none"]) == {url}
    assert not storage.is_empty(memory)
    assert storage.is_empty(f"{memory}/c")


def test_an_object_is_replaced_only_where_it_is_ours(memory: str) -> None:
    url = f"{memory}/b.bin"
    storage.write(url, b"one", force=False, ours=None, mark="")
    storage.write(url, b"one", force=False, ours=None, mark="")
    with pytest.raises(UsageError, match="exists; --force replaces it"):
        storage.write(url, b"two", force=False, ours=None, mark="")
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    storage.write(url, b"two", force=False, ours=digest, mark="")
    storage.write(url, b"three", force=True, ours=None, mark="")
    assert storage.read(url, 10).data == b"three"


def test_one_request_writes_it_all(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is there where the store breaks off."""
    system = fsspec.filesystem("memory")

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionResetError(104, f"reset {SECRET}")

    opened: list[str] = []
    monkeypatch.setattr(type(system), "pipe_file", broken)
    monkeypatch.setattr(type(system), "_open", lambda *a, **_: opened.append(a[1]))
    with pytest.raises(FileError, match="cannot be written: Connection reset") as caught:
        storage.write(f"{memory}/b.bin", b"one", force=False, ours=None, mark="")
    assert SECRET not in caught.value.message
    assert opened == []


def test_bytes_that_a_store_changes_are_seen(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    pipe = type(system).pipe_file
    monkeypatch.setattr(
        type(system), "pipe_file", lambda self, path, data, **_: pipe(self, path, data[:-1] + b"?")
    )
    with pytest.raises(FileError, match="are not those written"):
        storage.write(f"{memory}/b.bin", b"one", force=False, ours=None, mark="")


def test_large_objects_are_not_read(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{memory}/b.bin"
    storage.write(url, bytes(1000), force=False, ours=None, mark="")
    with pytest.raises(UnreadableError, match="over 0 MiB"):
        storage.read(url, 999)
    taken: list[int] = []

    class Endless:
        details: ClassVar = {"ETag": "x"}
        size = None

        def __enter__(self) -> Endless:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, size: int) -> bytes:
            taken.append(min(size, 600))
            return bytes(taken[-1])

    monkeypatch.setattr(fsspec.AbstractFileSystem, "open", lambda *_, **__: Endless())
    with pytest.raises(UnreadableError):
        storage.read(url, 999)
    assert sum(taken) == 1000


def test_what_is_there(memory: str) -> None:
    for name in ("a/1.bin", "a/2.bin", "a/.hidden", "out/3.bin", "b"):
        storage.write(f"{memory}/{name}", b"x", force=False, ours=None, mark="")
    assert remote.look(f"{memory}/a").is_directory
    assert remote.look(f"{memory}/none") == storage.Seen(None)
    seen = remote.look(f"{memory}/b").found
    assert seen is not None
    assert seen == walk.Found(f"{memory}/b", 1, seen.version, None)
    looking = walk.Walk(100, remote_output=f"{memory}/out")
    found = sorted(one.path for one in remote.below(memory, looking))
    assert found == [f"{memory}/{name}" for name in ("a/1.bin", "a/2.bin", "b")]
    assert dict(looking.skipped) == {"hidden": 1, "output": 1}
    looking.remote_output = None
    assert list(remote.fitting(f"{memory}/*/[12].bin", looking)) == found[:2]


def test_outputs_do_not_fit_a_pattern_above_them(memory: str) -> None:
    for name in ("d/1.bin", "d/new/1.bin", "d/newer/1.bin"):
        storage.write(f"{memory}/{name}", b"x", force=False, ours=None, mark="")
    looking = walk.Walk(max_size=10, remote_output=remote.plain(f"{memory}/d/new"))
    found = list(remote.fitting(f"{memory}/d/**/*.bin", looking))
    assert found == [remote.plain(f"{memory}/d/{name}") for name in ("1.bin", "newer/1.bin")]
    assert looking.skipped == {walk.OUTPUT: 1}
    assert len(list(remote.fitting(f"{memory}/d/new/*.bin", looking))) == 1


def test_a_missing_object_and_a_directory(memory: str) -> None:
    storage.write(f"{memory}/a/b", b"x", force=False, ours=None, mark="")
    for name in ("none", "a"):
        with pytest.raises(UsageError) as caught:
            storage.read(f"{memory}/{name}", 10)
        assert caught.value.code in ("not-found", "is-directory")


def test_one_object_has_one_name() -> None:
    pytest.importorskip("s3fs")
    assert storage.canonical("s3a://bucket/x/") == storage.canonical("s3://bucket/x")
    assert storage.canonical("s3://bucket/") == "s3://bucket"
    with pytest.raises(UsageError, match="no protocol 'nowhere'"):
        storage.canonical("nowhere://x")
