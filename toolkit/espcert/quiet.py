"""Calls into parsers of hostile bytes: no warning reaches a terminal, no exception a caller."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

_SILENCED: Final[ContextVar[bool]] = ContextVar("_SILENCED", default=False)
"""Whether warnings go nowhere already: setting that up costs more than most calls."""


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """What the library warns of odd certificates goes nowhere."""
    if _SILENCED.get():
        yield
        return
    token = _SILENCED.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
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
