"""Lets the tests of this folder import `tests.support`; fixtures that all of them share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a migration may write; not there yet."""
    return tmp_path / "out.bin"
