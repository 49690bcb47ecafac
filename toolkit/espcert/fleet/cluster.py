"""Batches on a Dask cluster, of the extra `espcert[dask]`: the engine is Dask's.

Workers read sources, open key files and write outputs by themselves; over the network go paths
and options one way and records the other. A batch may run twice, also at the same time: that
gives the same records and outputs.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final

from espcert.errors import EspcertError, FileError, UsageError
from espcert.fleet import places, settings, work
from espcert.fleet.task import Source, Task
from espcert.fleet.work import Record
from espcert.fleet.workers import AHEAD, Batch, Finished, without_interrupts

LOCAL: Final = "local"
TLS: Final = "tls"
SCHEMES: Final = ("tcp", TLS)
RETRIES: Final = 3
"""Times that Dask tries a batch again whose worker raised; deaths of workers it counts itself."""

REACH: Final = 10.0
"""Seconds in which a scheduler must answer and have a worker."""

LEAVE: Final = 5.0
"""Seconds in which a cluster is left, whatever it does."""

COUNTED: Final = 5.0
"""Seconds after which the workers are counted anew: clusters grow and shrink."""

_CHECKED: Final = ("espcert", "cryptography")
_LOGGERS: Final = ("distributed", "tornado", "bokeh", "asyncio")

Versions = dict[str, str]
Future = Any


def check(scheduler: str, jobs: int | None) -> None:
    """Raise UsageError for an address that is none, and for what a cluster decides itself."""
    if scheduler == LOCAL:
        return
    scheme, _, rest = scheduler.partition(places.MARK)
    host, _, port = rest.rpartition(":")
    is_port = port.isdecimal() and int(port) <= 0xFFFF
    if scheme not in SCHEMES or not is_port or not host or "@" in host or "/" in host:
        shown = places.shown(scheduler) if "@" in scheduler else scheduler
        text = f"--scheduler {shown}: expected tcp://HOST:PORT, tls://HOST:PORT or {LOCAL}"
        raise UsageError("bad-scheduler", text)
    if jobs is not None:
        raise UsageError("bad-jobs", f"--jobs {jobs}: the cluster has the workers that it has")


class Cluster:
    """A connection to a scheduler, whose workers have the versions that this process has.

    Raises UsageError where the extra is not installed or versions differ, FileError where the
    scheduler cannot be reached or has no worker. A context manager, which leaves at the end.
    """

    def __init__(self, scheduler: str, jobs: int) -> None:
        self._local: Any = None
        try:
            import distributed
        except ImportError as error:
            text = "--scheduler needs more: pip install 'espcert[dask]'"
            raise UsageError("missing-extra", text) from error
        with _quiet():
            if scheduler == LOCAL:
                self._local = _started(jobs)
            address = scheduler if self._local is None else self._local
            self._client = _connected(distributed.Client, address, scheduler)
        try:
            _check_versions(self._client, scheduler)
        except BaseException:
            self.close()
            raise

    def pool(self, task: Task) -> DaskPool:
        """What works on batches of a run."""
        return DaskPool(self._client, task)

    def close(self) -> None:
        """Leave the cluster; end it where it is this process's own."""
        with _quiet(), suppress(Exception):
            self._client.close(timeout=LEAVE)
        if self._local is not None:
            with _quiet(), suppress(Exception):
                self._local.close(timeout=LEAVE)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _started(jobs: int) -> Any:
    """A cluster of this machine, which nobody else can reach: it runs whatever it is sent."""
    from distributed import LocalCluster

    try:
        with without_interrupts():
            return LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=jobs,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                security=True,
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError, TimeoutError) as error:
        text = f"--scheduler {LOCAL}: the workers did not start ({type(error).__name__})"
        raise FileError("no-scheduler", text) from error


def _connected(client: Any, address: Any, scheduler: str) -> Any:
    name = f"--scheduler {scheduler}"
    if scheduler.startswith(TLS):
        _check_certificates(name)
    connected = None
    try:
        connected = client(address, timeout=REACH, set_as_default=False)
        connected.wait_for_workers(1, timeout=REACH)
    except TimeoutError as error:
        if connected is None:
            raise FileError("no-scheduler", f"{name}: nothing answers there") from error
        connected.close(timeout=LEAVE)
        text = f"has no worker, and got none in {REACH:.0f} seconds"
        raise FileError("no-workers", f"{name}: {text}") from error
    except OSError as error:
        raise FileError("no-scheduler", f"{name}: nothing answers there") from error
    return connected


def _check_certificates(name: str) -> None:
    """Raise UsageError where Dask's settings have no certificates, or none that can be read."""
    import distributed

    security: Any = distributed.Security
    where = "Dask's settings distributed.comm.tls: ca-file, client.cert, client.key"
    try:
        context = security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise UsageError("bad-certificates", f"{name}: no certificates from {where}") from error
    if context is None:
        raise UsageError("bad-certificates", f"{name}: expected certificates in {where}")


def _check_versions(client: Any, scheduler: str) -> None:
    """Raise UsageError that names a worker with other versions, before it is sent anything."""

    async def asked() -> Any:
        return await asyncio.wait_for(client.get_versions(packages=list(_CHECKED)), REACH)

    try:
        told = client.sync(asked)
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:
        text = f"its workers do not answer within {REACH:.0f} seconds"
        raise FileError("no-workers", f"--scheduler {scheduler}: {text}") from error
    ours = settings.versions()
    for address, worker in sorted(told["workers"].items()):
        theirs = {name: worker["packages"].get(name) for name in _CHECKED}
        theirs["Python"] = ".".join(worker["host"]["python"].split(".")[:2])
        text = _difference(ours, theirs)
        if text:
            name = f"--scheduler {scheduler}: the worker {address}"
            raise UsageError("versions-differ", f"{name} has {text}")


def _difference(ours: Versions, theirs: dict[str, str | None]) -> str:
    return "; ".join(
        f"{name} {theirs.get(name) or 'not at all'}, here it is {ours[name]}"
        for name in sorted(ours)
        if theirs.get(name) != ours[name]
    )


def run_batch(
    batch: tuple[Source, ...], task: Task, versions: Versions
) -> list[Record | None] | str:
    """The records of some images; on a worker, which may have joined after all were checked.

    Where it has other versions nothing is done: how they differ.
    """
    return _difference(versions, dict(settings.versions())) or work.run_batch(batch, task)


class DaskPool:
    """Hands batches to a cluster, and takes their records."""

    hides_deaths = True

    def __init__(self, client: Any, task: Task) -> None:
        self._client = client
        self._task = task
        self._versions = settings.versions()
        self._underway: dict[Future, Batch] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._counted = (0.0, 0)

    @property
    def slots(self) -> int:
        """Batches for all threads that the cluster has now, so that none waits."""
        counted, threads = self._counted
        if not threads or time.monotonic() - counted > COUNTED:
            with suppress(OSError):
                threads = sum(self._client.nthreads().values())
            self._counted = (time.monotonic(), threads)
        return AHEAD * max(threads, 1)

    def submit(self, batch: Batch) -> None:
        """Hand out a batch."""
        arguments = (batch.sources, self._task, self._versions)
        future = self._client.submit(run_batch, *arguments, pure=False, retries=RETRIES)
        self._underway[future] = batch
        future.add_done_callback(self._ended.put)

    def finished(self, timeout: float) -> list[Finished]:
        """Batches that are finished; waits for one, but not for ever.

        Raises what a worker was not fit for (UsageError), or FileError where the scheduler has
        gone.
        """
        ended = list(self._taken(timeout))
        good = [future for future in ended if future.status == "finished"]
        with _cluster_errors():
            told = dict(zip(good, self._client.gather(good), strict=True)) if good else {}
        return [
            self._finished(future, told[future] if future in told else self._failed(future))
            for future in ended
        ]

    def _finished(self, future: Future, told: list[Record | None] | str | None) -> Finished:
        if isinstance(told, str):
            raise UsageError("versions-differ", f"a worker that has joined the cluster has {told}")
        return Finished(self._underway.pop(future), told)

    def _taken(self, timeout: float) -> Iterator[Future]:
        with suppress(queue.Empty):
            yield self._ended.get(timeout=timeout)
            while True:
                yield self._ended.get_nowait()

    def _failed(self, future: Future) -> list[Record | None] | str | None:
        """Nothing where workers died of a batch; what came of it where it has run again since."""
        from distributed import KilledWorker

        with _cluster_errors():
            try:
                told: list[Record | None] | str = future.result(timeout=LEAVE)
            except KilledWorker:
                return None
        return told

    def close(self) -> None:
        """Take back what has not begun; what a worker writes is complete or not there."""
        left = list(self._underway)
        self._underway.clear()
        if left:
            with _quiet(), suppress(Exception):
                self._client.cancel(left, force=True)


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Say in one line why a batch cannot be had from a cluster."""
    from distributed import CancelledError, KilledWorker

    try:
        yield
    except (EspcertError, KilledWorker):
        raise
    except (CancelledError, OSError, TimeoutError) as error:
        text = "the connection to the scheduler was lost; what is done is in the journal"
        raise FileError("scheduler-lost", text) from error
    except Exception as error:
        text = f"a worker cannot run espcert ({type(error).__name__})"
        raise FileError("worker-failed", f"{text}: is the same version installed there?") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask says of its own affairs goes nowhere."""
    import warnings

    for name in (*_LOGGERS, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
