"""The processes of a fleet: their deaths are heard of, whatever they were doing."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from espcert.errors import FileError
from espcert.fleet import workers
from espcert.fleet.task import AUDIT, Source, Task
from espcert.fleet.work import Record
from espcert.fleet.workers import Batch, LocalPool

TASK = Task(AUDIT, datetime(2026, 6, 1, tzinfo=timezone.utc))
BATCH = Batch((Source("a", "a"),))
LARGE = 1 << 28
"""Bytes of a result that takes long to send."""


def _die_while_sending(_batch: object, _task: Task) -> list[Record | None]:
    """A result that is so large that its process can be killed when half of it is sent."""
    status = Path("/proc/self/io")

    def writes() -> int:
        return int(status.read_text().split("syscw: ")[1].split()[0])

    begin = writes()

    def kill() -> None:
        while writes() == begin:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    return [{"large": bytes(LARGE)}]


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="watches writes in /proc")
def test_a_worker_that_dies_while_it_sends_its_result_is_heard_of() -> None:
    pool = LocalPool(TASK, 1, _die_while_sending)
    try:
        pool.submit(BATCH)
        found = pool.finished(60)
        assert [(one.batch, one.records) for one in found] == [(BATCH, None)]
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("method", "error"),
    [("submit", BrokenPipeError(32, "Broken pipe")), ("__init__", OSError(24, "Too many files"))],
)
def test_a_worker_that_cannot_be_started(
    method: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken pipe between processes is not the reader of standard output that has gone."""

    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, method, refused)
    with pytest.raises(FileError, match=f"no worker can be started: {error.strerror}"):
        LocalPool(TASK, 1)


@pytest.mark.parametrize(
    ("soft", "hard", "jobs", "expected"),
    [
        (1024, 1 << 20, 8, []),
        (1024, 1 << 20, 200, [(1664, 1 << 20)]),
        (1024, -1, 200, [(1664, -1)]),
        (1024, 1500, 200, [(1500, 1500)]),
        (1024, 1024, 200, []),
        (-1, -1, 4096, []),
    ],
)
def test_many_workers_may_open_what_they_need(
    soft: int, hard: int, jobs: int, expected: list[tuple[int, int]], monkeypatch: Any
) -> None:
    resource = pytest.importorskip("resource")
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: found.append(limits))
    monkeypatch.setattr(workers, "_Worker", lambda *_: None)
    LocalPool(TASK, jobs)
    assert found == expected


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_limit_that_cannot_be_raised_stays(error: type[Exception], monkeypatch: Any) -> None:
    resource = pytest.importorskip("resource")

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1 << 20))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(workers, "_Worker", lambda *_: None)
    LocalPool(TASK, 4096)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signal masks")
@pytest.mark.parametrize("others", [0, 1])
def test_an_interrupt_while_a_process_starts_is_heard_of_afterwards(others: int) -> None:
    """Also where the system hands it to another thread, as that of a progress bar."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(others)]
    for thread in threads:
        thread.start()
    reached = False
    try:
        with pytest.raises(KeyboardInterrupt), workers.interrupts_later():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            reached = True
    finally:
        end.set()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
