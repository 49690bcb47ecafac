"""The errors that users meet. All are rooted in EspcertError; each knows its exit code."""

from __future__ import annotations

from typing import ClassVar


class EspcertError(Exception):
    """Something that the user can understand and act on: one line, a code, an exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class RefusedError(EspcertError):
    """What was given does not fit together, or not the chip: exit code 1, nothing is written."""


class UsageError(EspcertError):
    """The command was asked for something that cannot be: exit code 2, no JSON object."""

    exit_code = 2


class UnreadableError(EspcertError):
    """The image could not be read as any known layout: exit code 3."""

    exit_code = 3


class FileError(EspcertError):
    """Reading or writing a file failed: exit code 4."""

    exit_code = 4


class InternalError(Exception):
    """Two parts of espcert disagree: a bug, never the user's fault. Exit code 70."""
