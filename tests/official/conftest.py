"""Lets the tests of this folder import `tests.support`; the official tool's environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

ENVS = Path(ROOT) / "build" / "tool-envs"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: the environments are shared by all workers."""
    if os.name == "nt":
        yield
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def tool() -> Path:
    """The interpreter of the tool's environment."""
    from fixtures.tools import envs

    with locked(ENVS / "lock"):
        try:
            return envs.environment(ENVS, "current", sys.executable)
        except SystemExit as error:
            if os.environ.get("CI"):
                raise AssertionError(f"esp-secure-cert-tool: {error}") from None
            pytest.skip("esp-secure-cert-tool 2.6.1 cannot be installed here")
