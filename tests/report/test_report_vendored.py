"""The libraries inside the report: what was committed is what the registry has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support import ROOT

from espcert.fleet.reports import html

WEB = ROOT / "web"
MANIFEST: dict[str, Any] = json.loads((html.STATIC / "vendor.json").read_text("utf-8"))


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def test_committed_files_have_the_digests_of_the_lock() -> None:
    kept = {path.name: path.read_bytes() for path in html.STATIC.iterdir()}
    kept.pop("vendor.json")
    told = {
        name: entry["sha256"] for library in MANIFEST.values()
        for name, entry in library["files"].items()
    }  # fmt: skip
    assert {name: hashlib.sha256(data).hexdigest() for name, data in kept.items()} == told


def test_the_manifest_repeats_the_lock() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text("utf-8"))["packages"]
    packages = {name.removeprefix("node_modules/"): row for name, row in lock.items() if name}
    assert packages.keys() == MANIFEST.keys()
    for name, library in MANIFEST.items():
        for field in ("version", "license", "integrity"):
            assert library[field] == packages[name][field]
        assert library["license"] == "MIT"
        assert any(file.endswith(".LICENSE") for file in library["files"])


def test_the_registry_has_the_same(tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("node and npm are not installed")
    for name in ("package.json", "package-lock.json", "vendor.mjs"):
        shutil.copy(WEB / name, tmp_path)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        unavailable(f"npm ci failed in web/: {done.stderr.strip()[-300:]}")
    fresh = tmp_path / "fresh"
    subprocess.run([node, "vendor.mjs", "--out", str(fresh)], cwd=tmp_path, check=True)
    assert {path.name: path.read_bytes() for path in fresh.iterdir()} == {
        path.name: path.read_bytes() for path in html.STATIC.iterdir()
    }


@pytest.mark.parametrize("path", [*html.SCRIPTS, *html.STYLES], ids=lambda path: path.name)
def test_nothing_in_a_file_ends_its_element(path: Path) -> None:
    text = path.read_text("utf-8").lower()
    assert "</script" not in text
    assert "</style" not in text
    assert "<!--" not in text
