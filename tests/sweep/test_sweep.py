"""Every damage of every fixture, in memory: nothing wrong is ever written, and nothing hangs.

Without ESPCERT_SWEEP_SLICE all cases run. With it (a commit's hash) a part of them does, another
for each commit, for at most ESPCERT_SWEEP_MINUTES; of each fixture and kind of damage at least
`LEAST` cases. A case is named by fixture, kind and number; `python -m tests.sweep` runs one.
"""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import pytest
from tests.support import FIXTURES, fixture_truth
from tests.sweep import damage, judge

pytestmark = pytest.mark.sweep

SLICE: Final = os.environ.get("ESPCERT_SWEEP_SLICE", "")
UNTIL: Final = float(os.environ.get("ESPCERT_SWEEP_UNTIL", "inf"))
WORKERS: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
SLICED: Final = bool(SLICE) or math.isfinite(UNTIL)

CHUNK: Final = 8192
LEAST: Final = 24
SERIALISED: Final = 64
"""Of so many cases one has its objects written as JSON."""
MAX_SHOWN: Final = 12
CASE_SECONDS: Final = 60
"""What takes so long for one image of 24 KiB hangs."""


class Part(NamedTuple):
    """Cases that one test runs: those of `order` from `first` on, at most `most`."""

    fixture: str
    accept: frozenset[str]
    kind: str
    size: int
    first: int
    most: int

    @property
    def id(self) -> str:
        return "-".join(
            ["+".join([self.fixture, *sorted(self.accept)]), self.kind, str(self.first)]
        )

    def numbers(self) -> Iterator[int]:
        """The numbers of the cases, in the order in which they run."""
        if not SLICED:
            return iter(range(self.first, self.first + self.most))
        total = damage.count(self.kind, self.size)
        return iter(damage.Order.seeded(total, f"{SLICE}/{self.fixture}/{self.kind}"))


def _parts() -> list[Part]:
    parts = []
    for name, accept, size in judge.sources():
        for kind in damage.KINDS:
            total = damage.count(kind, size)
            step = total if SLICED else CHUNK
            for first in range(0, total, step):
                most = min(step, total - first)
                parts.append(Part(name, accept, kind, size, first, most))
    return parts


PARTS: Final = _parts()
_REMAINING: Final = [sum(later.most for later in PARTS[i:]) for i in range(len(PARTS))]


def _deadline(number: int) -> float:
    """When a part has had its share of what is left of the time, as all workers together see it."""
    now = time.time()
    return now + max(0.0, UNTIL - now) * WORKERS * PARTS[number].most / _REMAINING[number] * 0.9


class Hang(BaseException):
    """A case that does not end; no handler of the code under test may take it for its own."""


def _raise_hang(*_: object) -> NoReturn:
    raise Hang


@contextmanager
def watchdog() -> Iterator[Callable[[], None]]:
    """Gives a function to call before each case; one that takes CASE_SECONDS raises Hang.

    Code that never returns to the interpreter, and systems without SIGALRM, end the process.
    """
    faulthandler.dump_traceback_later(30 * CASE_SECONDS, exit=True, file=2)
    if not hasattr(signal, "SIGALRM"):
        yield lambda: None
        faulthandler.cancel_dump_traceback_later()
        return
    before = signal.signal(signal.SIGALRM, _raise_hang)

    def next_case() -> None:
        signal.alarm(CASE_SECONDS)

    try:
        yield next_case
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def _verdict(fixture: judge.Fixture, damaged: bytes, *, serialise: bool) -> judge.Verdict:
    try:
        outcome = judge.run(damaged, fixture.accept)
        failure = judge.serialised(outcome) if serialise else None
        return judge.Verdict(failure) if failure else judge.judge(fixture, damaged, outcome)
    except Hang:
        return judge.Verdict(f"no end within {CASE_SECONDS} seconds")
    except Exception as error:  # noqa: BLE001 - whatever escapes is what this looks for
        return judge.Verdict(f"{type(error).__name__}: {error} ({_place(error)})")


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.name}, line {last.lineno}"


@pytest.mark.parametrize("number", range(len(PARTS)), ids=[part.id for part in PARTS])
def test_no_damage_gives_a_wrong_partition(
    number: int, record_property: Callable[[str, object], None]
) -> None:
    part, deadline = PARTS[number], _deadline(number)
    fixture = judge.fixture(part.fixture, part.accept)
    failures: dict[str, list[int]] = {}
    exempt: Counter[judge.Exempt] = Counter()
    ran = 0
    with watchdog() as next_case:
        for case in islice(part.numbers(), part.most):
            if ran >= LEAST and SLICED and time.time() > deadline:
                break
            ran += 1
            damaged = damage.at(part.kind, part.size, case).apply(fixture.data)
            if damaged == fixture.data:
                continue
            next_case()
            verdict = _verdict(fixture, damaged, serialise=case % SERIALISED == 0)
            if verdict.failure:
                failures.setdefault(verdict.failure, []).append(case)
            if verdict.exempt:
                exempt[verdict.exempt] += 1
    listed = [(why, offset, times) for (why, offset), times in exempt.items()]
    record_property(
        "sweep",
        {
            "fixture": fixture.id,
            "kind": part.kind,
            "ran": ran,
            "total": part.most,
            "exempt": listed,
        },
    )
    if failures:
        pytest.fail(_report(part, failures), pytrace=False)


def _report(part: Part, failures: dict[str, list[int]]) -> str:
    lines = []
    for failure, cases in list(failures.items())[:MAX_SHOWN]:
        first = damage.at(part.kind, part.size, min(cases))
        accept = "".join(f" --accept {code}" for code in sorted(part.accept))
        lines.append(f"{len(cases)} cases, the first: {first}: {failure}")
        lines.append(f"  python -m tests.sweep {part.fixture} {part.kind} {min(cases)}{accept}")
    return f"{len(failures)} kinds of failure in {part.id}\n" + "\n".join(lines)


def test_the_yardstick_is_what_is_known_of_the_fixtures() -> None:
    for row in fixture_truth():
        name, needs = Path(row["file"]).stem, frozenset(row["refused"])
        known = Counter(judge.known(row["items"]))
        found = Counter(judge.facts(judge.fixture(name, needs).baseline))
        changes = judge.run((FIXTURES / row["file"]).read_bytes(), needs).changes
        mends = sum(change.startswith("mended: ") for change in changes)
        if mends:
            assert (found - known).total() == (known - found).total() == mends, name
            continue
        assert not found - known, name
        assert needs or found == known, name


def test_an_order_visits_every_case_once() -> None:
    for total in (1, 2, 7, 24, 1000):
        for seed in ("a", "b", "c"):
            assert sorted(damage.Order.seeded(total, seed)) == list(range(total))
