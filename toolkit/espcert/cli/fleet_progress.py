"""How far a run is: a bar where there is a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

INTERVAL: Final = 10.0
"""Seconds between two lines where there is no terminal."""

ORDER: Final = ("ok", "warning", "error", "failed", "skipped")
WORDS: Final = {"failed": "without result"}


class Progress(Protocol):
    """What is told while a run goes on."""

    def __enter__(self) -> Progress:
        """Begin to tell."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    def add(self, records: list[dict[str, Any]]) -> None:
        """Tell of finished images; of none, that time has passed."""


def progress(left: int, *, quiet: bool) -> Progress:
    """What fits where standard error goes."""
    if quiet or sys.stderr is None:
        return _Silent()
    return _Bar(left) if sys.stderr.isatty() else _Lines(left)


def verdict_of(record: dict[str, Any]) -> str:
    """The verdict, or the status of an image that has none."""
    return str(record["verdict"] if record["status"] == "done" else record["status"])


def counts_text(counted: Counter[str] | dict[str, int]) -> str:
    """Counts by verdict, the best first."""
    shown = [f"{counted[name]:,} {WORDS.get(name, name)}" for name in ORDER if counted.get(name)]
    return ", ".join(shown)


class _Silent:
    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self, records: list[dict[str, Any]]) -> None:
        pass


class _Lines(_Silent):
    """Lines for log files."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._counted: Counter[str] = Counter()
        self._begin = self._last = time.monotonic()

    def add(self, records: list[dict[str, Any]]) -> None:
        self._counted.update(verdict_of(record) for record in records)
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            done = self._counted.total()
            rate = done / (now - self._begin)
            remaining = f"{(self._left - done) / rate:,.0f} s left" if rate else "no end in sight"
            typer.echo(
                f"espcert: {done:,} of {self._left:,}, {rate:,.0f} a second, {remaining}: "
                f"{counts_text(self._counted)}",
                err=True,
            )


class _Bar(_Silent):
    """One bar that is drawn anew in place."""

    def __init__(self, left: int) -> None:
        self._counted: Counter[str] = Counter()
        self._begin = time.monotonic()
        self._bar = _drawn()
        self._task = self._bar.add_task("", total=left, counts="", rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, records: list[dict[str, Any]]) -> None:
        self._counted.update(verdict_of(record) for record in records)
        rate = self._counted.total() / max(time.monotonic() - self._begin, 1e-3)
        self._bar.update(
            self._task,
            advance=len(records),
            counts=counts_text(self._counted),
            rate=f"{rate:,.0f}/s",
        )


def _drawn() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # On a narrow terminal the bar gives way first, then the counts go on below; no number is cut.
    return RichProgress(
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[counts]}", table_column=Column()),
        console=Console(stderr=True),
        expand=True,
    )
