"""What the verbs share: options, the loop over images, errors and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NoReturn

import typer

from espcert import files
from espcert.errors import EspcertError, FileError, UsageError
from espcert.text import printable

SCHEMA: Final = 1
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
ISSUES: Final = "the project's issue tracker"


def parse_integer(text: str) -> int:
    """Decimal or `0x…` hexadecimal, not negative."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text, re.ASCII) is None:
        raise typer.BadParameter(f"{text!r} is no decimal or 0x… hexadecimal number")
    return int(text, 16 if text[1:2] in "xX" and len(text) > 1 else 10)


def _check_chip(name: str | None) -> str | None:
    if name is None:
        return None
    from espcert.chips import CHIPS

    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in CHIPS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(CHIPS)}")
    return plain


ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        help="A partition or flash image; - for standard input.",
        show_default=False,
    ),
]
ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="A partition or flash image; - for standard input.",
        show_default=False,
    ),
]
ChipOption = Annotated[
    str | None,
    typer.Option(
        "--chip",
        metavar="NAME",
        callback=_check_chip,
        help="The chip, where something depends on it (esp32c3, ...).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line for each IMAGE.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


class StdoutError(Exception):
    """Standard output cannot be written; `reason` is None where its reader has gone."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.reason = None if isinstance(error, BrokenPipeError) else files.reason_of(error)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Tell errors of standard output from those of files."""
    try:
        yield
    except OSError as error:
        raise StdoutError(error) from error


def say(text: str = "") -> None:
    """A line of the result, to standard output."""
    with writing():
        typer.echo(text)


def complain(text: str) -> None:
    """A line about a problem, to standard error."""
    typer.echo(f"espcert: {printable(text)}", err=True)


def print_object(file: str, fields: dict[str, Any]) -> None:
    """One JSON line for an IMAGE."""
    record = {"schema": SCHEMA, "file": file} | fields
    say(json.dumps(record, ensure_ascii=True, allow_nan=False))


def for_each(
    names: list[str],
    action: Callable[[str], int],
    *,
    as_json: bool,
    at_end: Callable[[], None] = lambda: None,
) -> None:
    """Run an action on every IMAGE, then `at_end`, and exit with the highest code.

    An error concerns its IMAGE alone: one line on standard error and, with JSON, one object
    unless it is a usage error.
    """
    with outcome():
        if names.count(files.STDIN) > 1:
            raise UsageError("stdin-twice", "standard input (-) can be read only once")
        code = max(_attempt(name, action, as_json=as_json) for name in names)
        at_end()
        _flush()
        raise typer.Exit(code)


def _attempt(name: str, action: Callable[[str], int], *, as_json: bool) -> int:
    try:
        return action(name)
    except EspcertError as error:
        return _failed(name, error, as_json=as_json)
    except (typer.Exit, KeyboardInterrupt, StdoutError):
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence, reported as a bug
        report_bug(error, name)
        if as_json:
            print_object(name, {"error": {"code": "bug", "message": "a bug in espcert"}})
        return EXIT_BUG


def _failed(name: str, error: EspcertError, *, as_json: bool) -> int:
    usage = isinstance(error, UsageError)
    named = usage or error.message.startswith(f"{name}: ")
    complain(error.message if named else f"{shown_name(name)}: {error.message}")
    if as_json and not usage:
        print_object(name, {"error": {"code": error.code, "message": printable(error.message)}})
    return error.exit_code


def shown_name(name: str) -> str:
    """How messages name an IMAGE."""
    return "standard input" if name == files.STDIN else name


def report_bug(error: Exception, name: str = "") -> None:
    """One line; the traceback only with ESPCERT_DEBUG=1. Locals and values are never shown."""
    where = f" while reading {shown_name(name)}" if name else ""
    complain(
        f"internal error{where} ({type(error).__name__}): this is a bug in espcert. Please report "
        f"it to {ISSUES} with the command and the version; ESPCERT_DEBUG=1 shows where it arose"
    )
    if os.environ.get("ESPCERT_DEBUG") == "1":
        import traceback

        traceback.print_tb(error.__traceback__)


@contextlib.contextmanager
def outcome(leave: Callable[[int], NoReturn] | None = None) -> Iterator[None]:
    """Turn what ends a verb into the exit codes of the contract, by `leave` or typer's own way."""
    try:
        yield
        _flush()
        return
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence, reported as a bug
        code = _code_of(error)
    except KeyboardInterrupt:
        complain("interrupted; nothing is left half-written")
        code = EXIT_INTERRUPTED
    if leave is not None:
        leave(code)
    raise typer.Exit(code)


def _flush() -> None:
    if sys.stdout is not None:
        with writing():
            sys.stdout.flush()


def _code_of(error: Exception) -> int:
    """Say what ended the command, and with which exit code."""
    if isinstance(error, OSError):
        error = StdoutError(error)
    if isinstance(error, StdoutError):
        _leave_quietly()
        if error.reason is None:
            return 0
        complain(f"cannot write the result: {error.reason}")
        return FileError.exit_code
    if isinstance(error, EspcertError):
        complain(error.message)
        return error.exit_code
    report_bug(error)
    return EXIT_BUG


def _leave_quietly() -> None:
    """Give standard output a place to go, so that closing it at exit cannot fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
