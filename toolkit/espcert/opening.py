"""Open an IMAGE: a partition, a whole flash image, or material in files of text."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from espcert import files
from espcert import image as images
from espcert.errors import UsageError
from espcert.image import Image

if TYPE_CHECKING:
    from espcert.confined import Folder
    from espcert.flash_encryption import FlashEncryption
    from espcert.nvs_encryption import NvsKeys
    from espcert_formats.items import Contents


@dataclass(frozen=True, slots=True)
class Opening:
    """How an IMAGE is to be read.

    `label` is the partition's, `table_offset` where a flash image has its table. `files_root` is
    the directory to which the files of a CSV are relative, None for the CSV's own.
    `flash_encryption` and `nvs_keys` are the keys of what may be encrypted,
    `key_files` the files that they were read from.
    """

    label: str | None = None
    table_offset: int | None = None
    files_root: Path | None = None
    flash_encryption: FlashEncryption | None = None
    nvs_keys: NvsKeys | None = None
    key_files: tuple[str, ...] = ()


AS_IT_IS = Opening()


_CSV_MARK: Final = b"tlv_type"
_CSV_HEAD: Final = 4096
"""No flash dump begins with this name of a column in so many bytes; only then CSV is looked for."""


def open_image(name: str, given: Opening = AS_IT_IS) -> Image:
    """Read an IMAGE (`-` is standard input) and locate the partition in it.

    A PEM directory and a CSV of configure_esp_secure_cert.py are read at once: their items have no
    place. Raises UsageError where there is no such file, or one that orders that something be
    generated, and where the keys need an address or esptool; UnreadableError where it is too
    large, names no partition, or names files that are not what they should be; FileError where it
    cannot be read or espsecure fails.
    """
    image = _opened(name, given)
    return dataclasses.replace(image, inputs=(*image.inputs, *given.key_files))


def _opened(name: str, given: Opening) -> Image:
    if name != files.STDIN and os.path.isdir(name):  # noqa: PTH112 - it never raises
        return _pem_directory(name, given)
    return _located(files.read_image(name), name, given)


def open_bytes(data: bytes, name: str, given: Opening = AS_IT_IS) -> Image:
    """Locate the partition in the bytes of an IMAGE that were read already; raises as above."""
    image = _located(data, name, given)
    return dataclasses.replace(image, inputs=(*image.inputs, *given.key_files))


def _located(data: bytes, name: str, given: Opening) -> Image:
    if is_csv(data):
        return _csv(data, name, given)
    return images.locate(
        data,
        name=name,
        label=given.label,
        table_offset=given.table_offset,
        flash_encryption=given.flash_encryption,
        nvs_keys=given.nvs_keys,
    )


def is_csv(data: bytes) -> bool:
    """Whether bytes are a CSV of configure_esp_secure_cert.py, which names further files."""
    if _CSV_MARK not in data[:_CSV_HEAD]:
        return False
    from espcert import csv_material

    return csv_material.looks_like(data)


def _pem_directory(name: str, given: Opening) -> Image:
    from espcert import pem_directory
    from espcert.confined import Folder

    folder = Folder(Path(name))
    if not pem_directory.is_one(folder):
        wanted = "a PEM directory has items.json, or files of the names that --extract writes"
        raise UsageError("is-directory", f"{name}: is a directory, not a file; {wanted}")
    return _of_files(b"", name, given, images.PEM, pem_directory.read(folder), folder)


def _csv(data: bytes, name: str, given: Opening) -> Image:
    from espcert import csv_material
    from espcert.confined import Folder

    beside = Path() if name == files.STDIN else Path(name).parent
    root = given.files_root or beside
    if not root.is_dir():
        raise UsageError("not-found", f"--files-root {root}: no such directory")
    folder = Folder(root)
    try:
        contents = csv_material.read(data, folder)
    except UsageError as error:
        raise UsageError(error.code, f"{name}: {error.message}") from error
    return _of_files(data, name, given, images.CSV, contents, folder)


def _of_files(
    data: bytes, name: str, given: Opening, container: str, contents: Contents, folder: Folder
) -> Image:
    image = Image(
        data,
        name,
        given.label,
        container=container,
        contents=contents,
        inputs=tuple(folder.inputs),
    )
    return images.plain(image, given.flash_encryption, given.nvs_keys)
