"""The options that say how an IMAGE is read, the same for every verb that reads images."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from espcert.cli import common
from espcert.opening import Opening

LabelOption = Annotated[
    str | None,
    typer.Option("--label", metavar="NAME", help="The partition's label.", show_default=False),
]
TableOffsetOption = Annotated[
    int | None,
    typer.Option(
        "--partition-table-offset",
        metavar="N",
        parser=common.parse_integer,
        help="Where a flash image has its partition table.  [default: looked for]",
        show_default=False,
    ),
]
FilesRootOption = Annotated[
    Path | None,
    typer.Option(
        "--files-root",
        metavar="DIR",
        help="Where the files that a CSV names lie.  [default: beside the CSV]",
        show_default=False,
    ),
]


def opening(
    label: LabelOption = None,
    partition_table_offset: TableOffsetOption = None,
    files_root: FilesRootOption = None,
) -> Opening:
    """What the options ask for. Raises UsageError where they contradict each other."""
    return Opening(label, partition_table_offset, files_root)


_NAME: Final = "opening"


def reads_images(command: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of `opening` in place of its parameter of that name.

    typer makes its options of a signature; this one is the verb's own with the shared options in
    it, so that every verb has the same ones and none repeats them.
    """
    shared = _parameters(opening)
    own = _parameters(command)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        with common.outcome():
            given = opening(**{name: values.pop(name) for name in shared})
        command(**values, **{_NAME: given})

    listed = [
        parameter
        for name, one in own.items()
        for parameter in (shared.values() if name == _NAME else (one,))
    ]
    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
    return run


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters by name, by keyword, with their annotations as they are meant."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
    }
