"""The loop of a run: hand out batches, write what comes back, survive the death of workers."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from espcert.errors import FileError
from espcert.fleet import places, work
from espcert.fleet.journal import Journal
from espcert.fleet.plan import Plan, source_of
from espcert.fleet.task import Source, Task
from espcert.fleet.work import Record
from espcert.fleet.workers import Batch, Finished, Pool

MAX_DEATHS: Final = 3
"""Workers that may die on an image before it gets a record that says so."""

HOPELESS: Final = 20
"""Workers that may die one after the other before the run is given up."""

PATIENCE: Final = 1.0
"""Seconds after which the caller is told that nothing has happened."""

LARGEST_BATCH: Final = 256
BATCH_SECONDS: Final = 0.2
FIRST_BATCH: Final = 8

Tell = Callable[[list[Record]], None]


def run(
    journal: Journal, plan: Plan, task: Task, pool: Pool, tell: Tell, *, rehash: bool = False
) -> None:
    """Work on all sources of the plan that are left; each batch is in the journal, then told.

    `tell` also hears of nothing, now and then, where nothing has finished. Ends the pool in every
    case. Raises FileError where the journal cannot be written or no worker stays alive.
    """
    if plan.run > 1:
        remove_remains(journal, task)
    loop = _Loop(journal, plan, task, pool, tell, rehash=rehash)
    try:
        loop.work()
    finally:
        pool.close()
    if loop.deaths or pool.hides_deaths:
        remove_remains(journal, task)


def remove_remains(journal: Journal, task: Task) -> None:
    """Remove the temporary files that killed workers of this journal have left behind.

    What cannot be removed stays: no image is lost by it.
    """
    query = "SELECT output FROM sources WHERE output IS NOT NULL ORDER BY output"
    last = None
    for (output,) in journal.database.execute(query):
        folder = os.path.dirname(os.fsdecode(output))  # noqa: PTH120 - of a million paths
        if folder != last and not places.is_url(folder):
            last = folder
            for path in Path(folder).glob(f".espcert-{task.mark}*.tmp"):
                with suppress(OSError):
                    path.unlink()


def _is_free(source: Source) -> bool:
    """Whether nothing is where a source will be written. Of object stores nobody asks each time."""
    output = source.output
    return output is not None and not places.is_url(output) and not os.path.lexists(output)


class _Loop:
    """What is under way, what must be tried again, and how large the next batch is."""

    def __init__(
        self, journal: Journal, plan: Plan, task: Task, pool: Pool, tell: Tell, *, rehash: bool
    ) -> None:
        self.deaths = 0
        self._journal = journal
        self._task = task
        self._pool = pool
        self._tell = tell
        rows = journal.todo(plan.run, rehash=rehash)
        self._sources = (source_of(*one, rehash=rehash) for one in rows)
        self._again: deque[Batch] = deque()
        self._size = FIRST_BATCH
        self._in_a_row = 0

    def work(self) -> None:
        underway = 0
        while True:
            while underway < self._pool.slots and (batch := self._next()):
                self._hand_out(batch)
                underway += 1
            if not underway:
                return
            finished = self._pool.finished(PATIENCE)
            for one in finished:
                underway -= 1
                self._take(one)
            if not finished:
                self._tell([])

    def _hand_out(self, batch: Batch) -> None:
        """Where a migration is cut short, what it has written is known by what was noted here."""
        free = [source.path for source in batch.sources if _is_free(source)]
        if free:
            self._journal.begin(free)
        self._pool.submit(batch)

    def _next(self) -> Batch | None:
        if self._again:
            return self._again.popleft()
        sources = tuple(itertools.islice(self._sources, self._size))
        return Batch(sources) if sources else None

    def _take(self, finished: Finished) -> None:
        batch, records = finished
        if records is None:
            self._mourn(batch)
            return
        self._in_a_row = 0
        pairs = list(zip(batch.sources, records, strict=True))
        self._keep([record for _, record in pairs if record is not None])
        same = [source.path for source, record in pairs if record is None]
        if same:
            self._journal.confirm(same)

    def _keep(self, records: list[Record]) -> None:
        if records:
            self._journal.write(records)
            self._tell(records)
            mean = sum(record["duration_ms"] for record in records) / len(records) / 1000
            self._size = max(1, min(LARGEST_BATCH, round(BATCH_SECONDS / max(mean, 1e-4))))

    def _mourn(self, batch: Batch) -> None:
        """Try the images of a batch on which a worker died one by one; blame the last one left."""
        self.deaths += 1
        self._in_a_row += 1
        if self._in_a_row >= HOPELESS:
            text = f"{HOPELESS} workers in a row were ended by the system: out of memory?"
            raise FileError("workers-die", f"{text} What is done is in the journal")
        deaths = batch.deaths + 1
        if len(batch.sources) == 1 and deaths >= MAX_DEATHS:
            self._keep([work.died(batch.sources[0], self._task)])
            return
        self._again.extend(Batch((source,), deaths) for source in batch.sources)
