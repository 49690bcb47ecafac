"""What one parent can take, and from that how a run over a hundred million modules is laid out."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests import fleet_maker
from tests.bench.fleet import MILLION, Measured
from tests.bench.library_loop import AT
from tests.bench.table import Table

from espcert.fleet import engine, journal, runs, work
from espcert.fleet.settings import Request
from espcert.fleet.task import AUDIT, MIGRATE, Source, Task
from espcert.fleet.work import Record
from espcert.fleet.workers import Batch, Finished

IMAGES: Final = 2000
ALL: Final = 100 * MILLION
SHARDS: Final = 100
WORKERS: Final = 500
REQUESTS: Final = 0.040
"""Seconds that a store takes for the requests of an image: assumed."""

ASKED: Final = {AUDIT: 2, MIGRATE: 7}
"""Requests of an image from store to store, as docs/fleet.md counts them."""


class Parent(NamedTuple):
    """Images a second that a parent plans, hands out and keeps; bytes of its journal an image."""

    rate: float
    journal: float


class _Instant:
    """A pool whose workers have every record at once, so that the parent alone takes time."""

    slots = 4
    hides_deaths = False

    def __init__(self, records: dict[str, Record]) -> None:
        self._records = records
        self._finished: list[Finished] = []

    def submit(self, batch: Batch) -> None:
        self._finished.append(Finished(batch, [self._records[one.path] for one in batch.sources]))

    def finished(self, timeout: float) -> list[Finished]:  # noqa: ARG002 - nothing to wait for
        done, self._finished = self._finished, []
        return done

    def close(self) -> None:
        pass


def measure() -> dict[str, Parent]:
    """What the parent does for an image, by verb; listing and planning included."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = fleet_maker.make(folder / "dumps", IMAGES)
        return {verb: _parent(folder, paths, verb) for verb in (AUDIT, MIGRATE)}


def _parent(folder: Path, paths: list[Path], verb: str) -> Parent:
    task = Task(verb, AT)
    records = {}
    for path in paths:
        output = str(folder / "made" / path.name) if verb == MIGRATE else None
        record = work.process(Source(str(path), path.stem, named=False, output=output), task)
        assert record is not None
        records[str(path)] = record
    output = str(folder / "out") if verb == MIGRATE else None
    file = folder / f"{verb}.sqlite"
    begin = time.perf_counter()
    begun = runs.begin(Request((str(folder / "dumps"),), task, output), file)
    engine.run(begun.journal, begun.plan, task, _Instant(records), lambda _: None)
    took = time.perf_counter() - begin
    begun.journal.close()
    size = sum(path.stat().st_size for path in journal.files_of(file) if path.exists())
    return Parent(IMAGES / took, size / IMAGES)


def layout_table(best: dict[str, Measured], parents: dict[str, Parent]) -> Table:
    """A hundred million modules, calculated."""
    verbs = (AUDIT, MIGRATE)
    each = [best[verb].one_each.cpu for verb in verbs]
    rate = [WORKERS / (seconds + REQUESTS) for seconds in each]
    kept = [parents[verb] for verb in verbs]
    size = fleet_maker.SIZE
    rows = [
        ("CPU of an image, ms (measured)", *(f"{one * 1000:.1f}" for one in each)),
        ("CPU of all, hours", *(f"{one * ALL / 3600:,.0f}" for one in each)),
        (f"{WORKERS} workers, disk, hours", *(f"{one * ALL / 3600 / WORKERS:.2f}" for one in each)),
        (f"{WORKERS} workers, store, hours", *(f"{ALL / one / 3600:.1f}" for one in rate)),
        (f"{WORKERS} workers, store, images/s", *(f"{one:,.0f}" for one in rate)),
        ("one parent takes, images/s (measured)", *(f"{one.rate:,.0f}" for one in kept)),
        (
            "parents at a time, at least",
            *(f"{-(-fast // one.rate):.0f}" for fast, one in zip(rate, kept, strict=True)),
        ),
        ("journal of an image, KiB (measured)", *(f"{one.journal / 1024:.1f}" for one in kept)),
        (
            f"journal of a shard of {ALL // SHARDS:,}, GB",
            *(f"{one.journal * ALL / SHARDS / 1e9:.1f}" for one in kept),
        ),
        ("read from the store, TB", *(f"{size * ALL / 1e12:.1f}" for _ in verbs)),
        ("requests, million", *(f"{ASKED[verb] * ALL / MILLION:,.0f}" for verb in verbs)),
    ]
    return Table(
        "A hundred million modules on a cluster (calculated)",
        "Only the lines marked so are measured; all others are calculated from them, and no run of "
        f"this size was made. {SHARDS} shards (`--shard I/{SHARDS}`), each with a parent and a "
        f"journal of its own, share {WORKERS} Dask workers of one thread; images are partitions of "
        f"{size >> 10} KiB; a store takes {REQUESTS * 1000:.0f} ms for the requests of an image, "
        "which is an assumption. A shard that is done has its report; `espcert fleet merge` finds "
        "what modules of different shards share. `docs/fleet.md` tells how such a run is started.",
        ("quantity", *verbs),
        rows,
    )
