"""`espcert detect`: say what each image is."""

from __future__ import annotations

from espcert import detection
from espcert.cli import common
from espcert.cli.common import (
    ChipOption,
    ImagesArgument,
    JsonOption,
    QuietOption,
)
from espcert.cli.opening_options import reads_images
from espcert.cli.words import headline, reading_lines
from espcert.errors import UnreadableError
from espcert.opening import AS_IT_IS, Opening, open_image


@reads_images
def command(
    images: ImagesArgument,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,  # noqa: ARG001 - shared by every verb that reads images
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what each IMAGE is: its layout, its kind of key, and why."""

    def detect_one(name: str) -> int:
        image = open_image(name, opening)
        reading = detection.detect(image)
        if as_json:
            common.print_object(name, detection.to_json(reading))
        elif reading.contents is None:
            common.complain(f"{common.shown_name(name)}: {reading.reason}")
        elif not quiet:
            common.say(headline(reading))
            for line in reading_lines(reading):
                common.say(line)
        return 0 if reading.contents else UnreadableError.exit_code

    common.for_each(images, detect_one, as_json=as_json)
