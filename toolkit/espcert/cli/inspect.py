"""`espcert inspect`: list what each image holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espcert import detection, files, inspection
from espcert.cli import common
from espcert.cli.common import (
    ChipOption,
    ImagesArgument,
    JsonOption,
    QuietOption,
)
from espcert.cli.opening_options import reads_images
from espcert.detection import Reading
from espcert.errors import UsageError
from espcert.opening import AS_IT_IS, Opening, open_image

MapOption = Annotated[
    bool, typer.Option("--map", help="Draw the partition: a hex dump coloured by field.")
]
SecretsOption = Annotated[
    bool, typer.Option("--show-secrets", help="Show the bytes of secrets in the map, too.")
]
ExtractOption = Annotated[
    Path | None,
    typer.Option(
        "--extract",
        metavar="DIR",
        help="Write the contents, private keys included, as files below DIR.",
        show_default=False,
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite extracted files.")]


@reads_images
def command(
    images: ImagesArgument,
    draw_map: MapOption = False,
    show_secrets: SecretsOption = False,
    extract: ExtractOption = None,
    force: ForceOption = False,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,  # noqa: ARG001 - shared by every verb that reads images
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List what each IMAGE holds: certificates, keys, DS material; no secret is shown."""
    directories = _directories(images, extract, draws_map=draw_map, as_json=as_json)

    def inspect_one(name: str) -> int:
        image = open_image(name, opening)
        reading = detection.detect(image)
        reading.require()
        if draw_map and reading.layout is None:
            text = "--map draws a partition, and these are files without one"
            raise UsageError("no-partition", f"{name}: {text}")
        if extract is not None:
            files.refuse_input_as_output([name], directories[name])
            _extract(reading, directories[name], force=force, quiet=quiet or as_json)
        if as_json:
            common.print_object(name, inspection.to_json(reading))
        elif not quiet:
            _print(reading, draw_map=draw_map, show_secrets=show_secrets)
        return 0

    common.for_each(images, inspect_one, as_json=as_json)


def _directories(
    images: list[str], extract: Path | None, *, draws_map: bool, as_json: bool
) -> dict[str, Path]:
    with common.outcome():
        if draws_map and as_json:
            raise UsageError("map-as-json", "--map is for people: it does not go with --json")
        if extract is None:
            return {}
        from espcert.extraction import directories_for

        return directories_for(images, extract)


def _extract(reading: Reading, directory: Path, *, force: bool, quiet: bool) -> None:
    from espcert.extraction import extract as write_files

    image = reading.image
    inputs = [image.name, *image.inputs]
    written = write_files(reading.require(), directory, inputs=inputs, force=force)
    if not quiet:
        typer.echo(f"extracted {len(written)} files to {directory}", err=True)


def _print(reading: Reading, *, draw_map: bool, show_secrets: bool) -> None:
    from espcert.cli import tables

    with common.writing():
        tables.print_contents(reading)
        if draw_map:
            from espcert.cli import partition_map

            partition_map.print_map(reading, show_secrets=show_secrets)
