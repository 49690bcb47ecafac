"""The command line: one module a verb. Only here are typer and rich imported."""

from __future__ import annotations


def run() -> None:
    """The entry point of the command `espcert`."""
    from espcert.cli.app import main

    main()
