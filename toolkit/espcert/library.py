"""The Python API's entry points that touch files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from espcert import conversion, efuse, files, inspection, keys, opening, signers, trees
from espcert.conversion import Conversion
from espcert.detection import Reading
from espcert.efuse import EfuseDump
from espcert.errors import UsageError
from espcert.image import Image
from espcert.migration import Migration
from espcert.opening import Opening
from espcert.signers import Signer


def open_image(path: str | os.PathLike[str], *, label: str | None = None) -> Image:
    """Read an image file of at most 256 MiB and find out what container it is.

    Raises UsageError where there is no such file, UnreadableError where it is too large,
    FileError where it cannot be read.
    """
    return opening.open_image(os.fspath(path), Opening(label))


def inspect(reading: Reading) -> dict[str, Any]:
    """What `espcert inspect --json` prints of an image that was read, without `schema`, `file`."""
    return inspection.to_json(reading)


def convert(reading: Reading, to: str, **options: Any) -> Conversion:
    """Write what an image holds in the layout `to`; `options` are those of `conversion.Options`.

    Raises UnreadableError where the image is no known layout, UsageError for a wrong option.
    """
    return conversion.convert(reading, conversion.Options(to, **options))


def save(
    result: Migration | Conversion, path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write what was migrated, signed or converted atomically, 0600.

    `path` is that of the partition, of the CSV, or of the PEM directory. Raises UsageError where
    it was refused, the file exists (and not `force`) or is the image itself, FileError where
    writing fails.
    """
    if result.file is None:
        reasons = "; ".join(f"{one.message} [{one.code}]" for one in result.blocking)
        raise UsageError("refused", f"refused: {reasons}")
    output = Path(path)
    if isinstance(result, Conversion) and result.files:
        _save_files(result, output, force=force)
        return
    if result.reading.image.name:
        files.refuse_input_as_output([result.reading.image.name], output)
    files.check_output(output, force=force)
    files.write_atomically(output, result.file, force=force)


def _save_files(result: Conversion, output: Path, *, force: bool) -> None:
    *others, index = result.files.items()
    base, name = (output, index[0]) if result.to == conversion.PEM else (output.parent, output.name)
    payloads = {**dict(others), name: index[1]}
    image = result.reading.image
    read = [one for one in (image.name, *image.inputs) if one]
    for path in payloads:
        files.refuse_input_as_output(read, base / path)
    trees.write(base, payloads, force=force)


def open_efuse(path: str | os.PathLike[str], *, chip: str | None = None) -> EfuseDump:
    """Read a dump of eFuses, for `verify(…, efuse=…)`.

    Raises UsageError where the file is no dump of a known form, or of another chip; FileError
    where it cannot be read.
    """
    return efuse.load(os.fspath(path), chip)


def open_hmac_key(path: str | os.PathLike[str]) -> bytes:
    """The 32 bytes of an HMAC key file, raw or hex. Raises UsageError where it is none."""
    return keys.load_hmac_key(os.fspath(path))


def open_signing_key(path: str | os.PathLike[str], password: bytes | None = None) -> Signer:
    """A private key for `sign`, PEM or DER. `password` opens one that is under a password.

    Raises UsageError where the file holds no key that signs partitions.
    """
    name = os.fspath(path)
    return signers.from_key(files.read_image(name), name=name, password=password)


def open_signature(path: str | os.PathLike[str], public_key: str | os.PathLike[str]) -> Signer:
    """A signature that was made elsewhere, and the file of its public key, for `sign`.

    The forms are those of `signers.from_signature`. Raises UsageError where the key signs none.
    """
    name = os.fspath(path)
    key = files.read_image(os.fspath(public_key))
    return signers.from_signature(files.read_image(name), key, name=name)
