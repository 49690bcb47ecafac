"""Processes of this machine that work on batches; the death of one costs no other anything."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Final, NamedTuple, Protocol

from espcert.errors import FileError
from espcert.files import reason_of
from espcert.fleet.task import Source, Task
from espcert.fleet.work import Record, run_batch

AHEAD: Final = 2
"""Batches that each worker is given: one to work on, one to begin with at once."""

FILES: Final = 64
FILES_A_WORKER: Final = 8
"""Descriptors that this process needs for itself, and for each worker: pipes and its sentinel."""


class Batch(NamedTuple):
    """Sources that are worked on together; `deaths` counts the workers that died on them."""

    sources: tuple[Source, ...]
    deaths: int = 0


class Finished(NamedTuple):
    """A batch and its records, None where its worker died; `problem` is then the reason."""

    batch: Batch
    records: list[Record | None] | None


class Pool(Protocol):
    """What works on batches: processes of this machine, or a cluster.

    `hides_deaths` tells whether a batch may be worked on again with no word of the first worker.
    """

    hides_deaths: bool

    @property
    def slots(self) -> int:
        """How many batches should be under way, so that no worker waits."""

    def submit(self, batch: Batch) -> None:
        """Hand out a batch."""

    def finished(self, timeout: float) -> list[Finished]:
        """Batches that are finished, or whose worker died; waits for one, but not for ever."""

    def close(self) -> None:
        """End all workers at once, whatever they do."""


Run = Callable[[tuple[Source, ...], Task], list["Record | None"]]


class LocalPool:
    """Executors of one spawned process each, so that a process that dies names its batch."""

    hides_deaths = False

    def __init__(self, task: Task, jobs: int, run: Run = run_batch) -> None:
        self.slots = AHEAD * jobs
        _raise_file_limit(FILES + FILES_A_WORKER * jobs)
        self._workers = [_Worker(task, run) for _ in range(jobs)]

    def submit(self, batch: Batch) -> None:
        """Give a batch to the worker that has the least to do."""
        min(self._workers, key=lambda worker: len(worker.batches)).submit(batch)

    def finished(self, timeout: float) -> list[Finished]:
        """What has finished; waits for the first of it, at most `timeout` seconds."""
        futures = [future for worker in self._workers for future, _ in worker.batches]
        concurrent.futures.wait(futures, timeout, concurrent.futures.FIRST_COMPLETED)
        return [one for worker in self._workers for one in worker.take()]

    def close(self) -> None:
        """Kill the workers: whatever they write is complete or not there."""
        for worker in self._workers:
            worker.kill()

    @property
    def processes(self) -> list[int]:
        """The workers' process ids."""
        return [worker.process for worker in self._workers]


class _Worker:
    """One process, started anew where it dies, and the batches that it was given, in order."""

    def __init__(self, task: Task, run: Run) -> None:
        self._task = task
        self._run = run
        self.batches: deque[tuple[Future[list[Record | None]], Batch]] = deque()
        self._start()

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        try:
            self._executor = ProcessPoolExecutor(1, spawning, _prepare_process)
            with interrupts_later():
                self._process = self._executor.submit(os.getpid)
        except OSError as error:
            text = f"no worker can be started: {reason_of(error)}"
            raise FileError("workers-die", f"{text}. What is done is in the journal") from error
        _hear_of_its_end(self._executor)

    @property
    def process(self) -> int:
        return self._process.result()

    def submit(self, batch: Batch) -> None:
        try:
            future = self._executor.submit(self._run, batch.sources, self._task)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self.batches.append((future, batch))

    def take(self) -> Iterator[Finished]:
        """The batches that are finished. Where the process died, the first left is to blame."""
        while self.batches and self.batches[0][0].done():
            future, batch = self.batches[0]
            if isinstance(future.exception(), BrokenProcessPool):
                yield self._died()
                return
            self.batches.popleft()
            yield Finished(batch, future.result())

    def _died(self) -> Finished:
        _, first = self.batches.popleft()
        others = [batch for _, batch in self.batches]
        self.batches.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._start()
        for batch in others:
            self.submit(batch)
        return Finished(first, None)

    def kill(self) -> None:
        with suppress(Exception):
            os.kill(self._process.result(timeout=0), signal.SIGTERM)
        self._executor.shutdown(wait=False, cancel_futures=True)


def _hear_of_its_end(executor: ProcessPoolExecutor) -> None:
    """Close this side's end for writing of the pipe that results come through.

    Else a process that dies in the middle of a large result leaves its reader waiting for ever:
    the pipe has no end as long as anybody may write to it, and the executor keeps its own copy.
    """
    queue = getattr(executor, "_result_queue", None)
    writer = getattr(queue, "_writer", None)
    if writer is not None:
        writer.close()


def _raise_file_limit(needed: int) -> None:
    """The usual limit of 1024 open files is too low from some 140 workers on.

    Where it cannot be raised, a worker that does not start tells why.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@contextmanager
def interrupts_later() -> Iterator[None]:
    """A process that is started meanwhile hears of no Ctrl-C; this one hears of it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        with without_interrupts():
            yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _put_off():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _put_off() -> Iterator[None]:
    """Pass on afterwards what another thread hears, for which this one's mask does not count."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """A process that is started meanwhile ignores Ctrl-C from its first instruction on.

    This one hears of none meanwhile. Workers of Dask need it: they set up a handler of their own
    where the signal is not ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare_process() -> None:
    """Make a worker quiet, deaf to Ctrl-C, which is its parent's, and no orphan."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """An executor's process holds both ends of its own pipe, and would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        signal.raise_signal(signal.SIGTERM)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
