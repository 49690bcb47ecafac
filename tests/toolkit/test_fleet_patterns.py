"""Patterns of paths: what fits, each directory once, and nothing of what is avoided."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from espcert.fleet import patterns, sources, walk


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories with a loop above, beside and below."""
    for name in ("a.bin", "sub/b.bin", "sub/deep/c.bin", "sub/deep/c.txt", "new/n.bin", ".h/h.bin"):
        path = tmp_path / "d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "d" / "aloop").symlink_to(".")
    (tmp_path / "d" / "sub" / "up").symlink_to("..")
    (tmp_path / "d" / "twin.bin").hardlink_to(tmp_path / "d" / "sub" / "b.bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = ["a.bin", "new/n.bin", "sub/b.bin", "sub/deep/c.bin", "twin.bin"]
MORE = sorted([*ALL, "sub/deep/c.txt"])


@pytest.mark.parametrize(
    ("pattern", "expected", "loops"),
    [
        ("d/**/*.bin", ALL, 2),
        ("d//**/*.bin", ALL, 2),
        ("**/*.bin", ALL, 2),
        ("**/d/**/*.bin", ALL, 2),
        ("d/**/**/*.bin", ALL, 2),
        ("d/**", MORE, 2),
        ("d/**/", MORE, 2),
        ("d/**/*", MORE, 2),
        ("**", MORE, 2),
        ("d/**/deep/*", ["sub/deep/c.bin", "sub/deep/c.txt"], 2),
        ("d/**/sub/**/c.*", ["sub/deep/c.bin", "sub/deep/c.txt"], 4),
        ("d/*.bin", ["a.bin", "twin.bin"], 0),
        ("d/.h/*", [".h/h.bin"], 0),
        ("d/s*/*.bin", ["sub/b.bin"], 0),
        ("d/*/n.bin", ["new/n.bin"], 0),
    ],
)
def test_each_directory_is_gone_through_once(
    pattern: str, expected: list[str], loops: int, tree: Path
) -> None:
    looking = walk.Walk(1 << 20)
    found = [one.source.path for one in sources.listed([pattern], looking)]
    assert sorted(os.path.relpath(path, "d") for path in found) == expected
    assert looking.skipped[walk.LOOP] == loops
    assert patterns.fits(str(tree / pattern))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/**/*.bin", [one for one in ALL if one != "new/n.bin"]),
        ("d/**", [one for one in MORE if one != "new/n.bin"]),
        ("d/**/*", [one for one in MORE if one != "new/n.bin"]),
        ("d/**/new/n.bin", []),
        ("d/*/n.bin", []),
        ("d/n*", []),
        ("d/n*/**/n.bin", []),
    ],
)
def test_what_is_avoided_is_counted(pattern: str, expected: list[str]) -> None:
    looking = walk.Walk(1 << 20, walk.identities(["d/new"], walk.OUTPUT))
    found = [one.source.path for one in sources.listed([pattern], looking)]
    assert sorted(os.path.relpath(path, "d") for path in found) == expected
    assert looking.skipped[walk.OUTPUT] == 1


def test_a_pattern_in_what_is_avoided_means_it() -> None:
    looking = walk.Walk(1 << 20, walk.identities(["d/new"], walk.OUTPUT))
    assert [one.source.path for one in sources.listed(["d/new/*.bin"], looking)] == ["d/new/n.bin"]


def test_nothing_fits() -> None:
    assert not patterns.fits("d/**/*.img")
    assert not patterns.fits("e/**")
    assert not patterns.fits("e")
    assert not patterns.fits("d/a.bin/**")
