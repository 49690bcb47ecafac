"""What the verbs share: options, the loop over images, errors and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer

from espcert import files
from espcert import image as images
from espcert.errors import EspcertError, UsageError
from espcert.image import Image
from espcert.text import printable

SCHEMA: Final = 1
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
ISSUES: Final = "the project's issue tracker"


def parse_integer(text: str) -> int:
    """Decimal or `0x…` hexadecimal, not negative."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        raise typer.BadParameter(f"{text!r} is no decimal or 0x… hexadecimal number")
    return value


def _check_chip(name: str | None) -> str | None:
    if name is None:
        return None
    from espcert.chips import CHIPS

    if name not in CHIPS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(CHIPS)}")
    return name


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
LabelOption = Annotated[
    str | None,
    typer.Option("--label", metavar="NAME", help="The partition's label.", show_default=False),
]
TableOffsetOption = Annotated[
    int | None,
    typer.Option(
        "--partition-table-offset",
        metavar="N",
        parser=parse_integer,
        help="Where a flash image has its partition table.  [default: looked for]",
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


def say(text: str = "") -> None:
    """A line of the result, to standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """A line about a problem, to standard error."""
    typer.echo(f"espcert: {printable(text)}", err=True)


def print_object(file: str, fields: dict[str, Any]) -> None:
    """One JSON line for an IMAGE."""
    record = {"schema": SCHEMA, "file": file} | fields
    say(json.dumps(record, ensure_ascii=True, allow_nan=False))


def open_image(name: str, *, label: str | None, table_offset: int | None) -> Image:
    """Read an IMAGE and locate the partition in it."""
    return images.locate(files.read_image(name), name=name, label=label, table_offset=table_offset)


def for_each(names: list[str], action: Callable[[str], int], *, as_json: bool) -> None:
    """Run an action on every IMAGE and exit with the highest code.

    An error concerns its IMAGE alone: one line on standard error and, with JSON, one object
    unless it is a usage error.
    """
    with outcome():
        if names.count(files.STDIN) > 1:
            raise UsageError("stdin-twice", "standard input (-) can be read only once")
        code = max(_attempt(name, action, as_json=as_json) for name in names)
        raise typer.Exit(code)


def _attempt(name: str, action: Callable[[str], int], *, as_json: bool) -> int:
    try:
        return action(name)
    except EspcertError as error:
        prefix = "" if error.message.startswith(name) else f"{shown_name(name)}: "
        complain(f"{prefix}{error.message}")
        if as_json and not isinstance(error, UsageError):
            print_object(name, {"error": {"code": error.code, "message": printable(error.message)}})
        return error.exit_code
    except (typer.Exit, KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence, reported as a bug
        report_bug(error, name)
        if as_json:
            print_object(name, {"error": {"code": "bug", "message": "a bug in espcert"}})
        return EXIT_BUG


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
def outcome() -> Iterator[None]:
    """Turn what ends a verb into the exit codes of the contract."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted; nothing is left half-written")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        _leave_quietly()
        raise typer.Exit(0) from None
    except EspcertError as error:
        complain(error.message)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        complain(f"cannot write the result: {files.reason_of(error)}")
        _leave_quietly()
        raise typer.Exit(4) from None


def _leave_quietly() -> None:
    """Give standard output a place to go, so that closing it at exit cannot fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
