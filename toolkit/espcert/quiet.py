"""Calls into parsers of hostile bytes: no warning reaches a terminal, no exception a caller."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

_SILENCED: Final[ContextVar[bool]] = ContextVar("_SILENCED", default=False)
"""Whether warnings go nowhere already: setting that up costs more than most calls."""


class _Filters:
    """The process's warning filters, which all threads share: the last one restores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._saved = warnings.catch_warnings()

    def silence(self) -> None:
        """Ignore all warnings from now on, until as many calls of `restore`."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")

    def restore(self) -> None:
        """Undo one `silence`."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._saved.__exit__(None, None, None)


_FILTERS: Final = _Filters()


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """What the library warns of odd certificates goes nowhere."""
    if _SILENCED.get():
        yield
        return
    token = _SILENCED.set(True)
    _FILTERS.silence()
    try:
        yield
    finally:
        _FILTERS.restore()
        _SILENCED.reset(token)


def or_none(action: Callable[[], T]) -> T | None:
    """The result, or None where the bytes cannot be read."""
    try:
        return action()
    except Exception:  # noqa: BLE001 - parsers of hostile ASN.1 raise what they please
        return None


def quietly(action: Callable[[], T]) -> T | None:
    """The result without warnings, or None where the bytes cannot be read."""
    if _SILENCED.get():
        return or_none(action)
    with no_warnings():
        return or_none(action)
