"""`espcert diff`: whether two images hold the same items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from espcert import detection
from espcert.cli import common
from espcert.cli.common import ChipOption, JsonOption, QuietOption
from espcert.cli.opening_options import reads_images
from espcert.opening import AS_IT_IS, Opening, open_image
from espcert.text import printable

if TYPE_CHECKING:
    from espcert.comparison import Comparison
    from espcert.detection import Reading

ImageA = Annotated[
    str, typer.Argument(metavar="A", help="An image; - for standard input.", show_default=False)
]
ImageB = Annotated[
    str, typer.Argument(metavar="B", help="Another one, of any layout.", show_default=False)
]


@reads_images
def command(
    a: ImageA,
    b: ImageB,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,  # noqa: ARG001 - shared by every verb that reads images
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say whether A and B hold the same items, seals aside: exit code 0 if so, 1 if not."""
    from espcert import comparison

    readings: list[Reading] = []

    def read(name: str) -> int:
        reading = detection.detect(open_image(name, opening))
        reading.require()
        readings.append(reading)
        if len(readings) < 2:
            return 0
        found = comparison.compare(*readings)
        if as_json:
            common.print_object(a, comparison.to_json(found))
        else:
            _print(found, quiet=quiet)
        return 1 if found.differences else 0

    common.for_each([a, b], read, as_json=as_json)


def _print(found: Comparison, *, quiet: bool) -> None:
    """The differences on standard output, damage on standard error."""
    for name, item in found.damaged:
        shown = printable(common.shown_name(name))
        typer.echo(f"espcert: {shown}: {item} does not have its checksum", err=True)
    if quiet:
        return
    names = [printable(common.shown_name(one.image.name)) for one in (found.a, found.b)]
    if not found.differences:
        common.say(f"{names[0]} and {names[1]} hold the same {found.items} items")
        return
    common.say(f"A is {names[0]}, B is {names[1]}")
    for difference in found.differences:
        common.say(f"  {difference.item}: {difference.text}")
