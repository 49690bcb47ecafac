"""The command `espcert` and its verbs."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from espcert import __version__
from espcert.cli import common

VERBS: Final = (
    "detect",
    "inspect",
    "verify",
    "migrate",
    "convert",
    "diff",
    "partitions",
    "build",
    "sign",
)
GROUPS: Final = ("fleet",)
"""Verbs that have verbs of their own."""

app = typer.Typer(
    name="espcert",
    help="Detect, read, prove and migrate the credential partitions of ESP32 modules.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"espcert {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Detect, read, prove and migrate the credentials of ESP32 modules."""


def _register() -> None:
    """Give the app its verbs; where the first argument names one, only that one is imported."""
    known = (*VERBS, *GROUPS)
    asked = [verb for verb in known if verb in sys.argv[1:2]]
    for verb in asked or known:
        module = importlib.import_module(f"espcert.cli.{verb}")
        if verb in GROUPS:
            app.add_typer(module.group, name=verb)
        else:
            app.command(verb)(module.command)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _end_in_order() -> None:
    """Let a termination unwind, so that private directories and temporary files are removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def main() -> None:
    """Run the command line; libraries' warnings go nowhere."""
    warnings.simplefilter("ignore")
    _end_in_order()
    if sys.stdout is None or not sys.stdout.isatty():
        # typer colours its help for some CI systems, terminal or not; this is its own switch.
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    for stream in (sys.stdout, sys.stderr):
        # A terminal without our arrows and dots (some Windows code pages) gets escapes instead.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with common.outcome(sys.exit):
        _register()
        app()
