"""Any layout to any other that can hold the material: nothing is dropped, nothing is mended."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

from espcert import (
    csv_material,
    csv_writing,
    detection,
    encrypted_output,
    inspection,
    migration,
    pem_directory,
    verification,
)
from espcert.catalogue import ERROR
from espcert.checks import seals, structure
from espcert.chips import CHIPS
from espcert.comparison import material
from espcert.confined import Held
from espcert.detection import Reading
from espcert.errors import InternalError, UnreadableError, UsageError
from espcert.findings import Finding, item_name
from espcert.flashing import CUSTOMARY_SUBTYPE
from espcert.selection import Loss, select
from espcert.settlement import ASKED_AGAIN, require_acceptable
from espcert.sizes import require_size
from espcert_formats import items as kinds
from espcert_formats import registry, tlv
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Item

CSV: Final = "csv"
PEM: Final = "pem"
TARGETS: Final = (*registry.NAMES, CSV, PEM)
NVS_SUBTYPE: Final = 0x02
"""Source: esp_secure_cert_mgr 2296511, esp_secure_cert_read.c (ESP_PARTITION_SUBTYPE_DATA_NVS)."""
_CUST_FLASH: Final = ("cust_flash", "cust_flash_legacy")
_OF_BYTES: Final = ("integrity-mismatch", "integrity-malformed")
"""Seals that say that the bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a conversion is asked for: `to` names the layout, the rest is optional.

    `size` is the new partition's in bytes, `accept` names codes whose loss is taken. With `chip`
    a DS ciphertext must be one that this chip reads. `integrity` asks for that entry in TLV.
    `csv_name` is the file name of a CSV, `espcert_csv` allows it a column that only espcert reads.
    `encrypt_output` encrypts a new partition with the image's own flash encryption key.
    """

    to: str
    size: int | None = None
    accept: frozenset[str] = frozenset()
    chip: str | None = None
    integrity: bool = True
    csv_name: str = "esp_secure_cert.csv"
    espcert_csv: bool = False
    encrypt_output: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "accept", frozenset(self.accept))
        if self.to not in TARGETS:
            raise UsageError("unknown-layout", f"--to {self.to}: none of {', '.join(TARGETS)}")
        if self.chip is not None and self.chip not in CHIPS:
            raise UsageError("unknown-chip", f"{self.chip!r}: none of {', '.join(CHIPS)}")
        require_acceptable(self.accept)
        require_size(self.size)
        if self.size is not None and self.to in (CSV, PEM):
            raise UsageError("bad-size", f"--size: {self.to} is no partition")
        if self.encrypt_output and self.to in (CSV, PEM):
            raise UsageError("bad-options", f"--encrypt-output: {self.to} is no partition")
        if self.espcert_csv and self.to != CSV:
            raise UsageError("bad-options", "--espcert-csv is for --to csv")


@dataclass(frozen=True, slots=True)
class Conversion:
    """The outcome. `output` is the new partition, None where there is none or it is refused.

    For `csv` and `pem` `files` are the files by relative name, the one that names the others last.
    `contents` are what was made holds, read back; `findings` are errors and warnings.
    `sealed` is the partition as it will lie in encrypted flash, where that was asked for.
    """

    reading: Reading
    to: str
    output: bytes | None = field(repr=False)
    contents: Contents | None
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    sealed: bytes | None = field(default=None, repr=False)

    @property
    def file(self) -> bytes | None:
        """What is written: the new partition, or the file that names the others."""
        if self.sealed is not None:
            return self.sealed
        return next(reversed(self.files.values())) if self.files else self.output

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The errors."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    @property
    def refused(self) -> bool:
        """Whether the target cannot hold something, or something not accepted would be lost."""
        return self.contents is None


def convert(reading: Reading, options: Options) -> Conversion:
    """Write what an image holds in another layout, read it back and compare item by item.

    Raises UnreadableError where the image is no known layout, UsageError where an option does not
    fit it.
    """
    source = reading.require()
    _check_encryption(reading, options)
    selection = select(source, None, None)
    items = selection.material
    losses = [*selection.losses, *_lost_signatures(source)]
    found = list(_against(reading, options, losses))
    found += _misfits(items, options)
    if not items:
        found.append(Finding("nothing-left", "no item is there to write"))
    if any(finding.severity == ERROR for finding in found):
        return Conversion(reading, options.to, None, None, tuple(found), ())
    changes = tuple(_changes(reading, losses, options))
    found += _not_taken(reading)
    try:
        if options.to in (CSV, PEM):
            made = _files(items, source, options)
            contents = _proven_files(made, items, options)
            return Conversion(reading, options.to, None, contents, tuple(found), changes, made)
        output = _write(items, source, options)
    except FormatError as error:
        found.append(Finding("does-not-fit", str(error)))
        return Conversion(reading, options.to, None, None, tuple(found), ())
    contents = _proven(output, items, options)
    found += _warnings(items, reading, options, len(output))
    sealed = encrypted_output.seal(reading.image, output) if options.encrypt_output else None
    return Conversion(reading, options.to, output, contents, tuple(found), changes, sealed=sealed)


def _check_encryption(reading: Reading, options: Options) -> None:
    """Raise UsageError where firmware would not read what is written as it is written."""
    encrypted_output.check(
        reading.image, wanted=options.encrypt_output, partition_only=True, flag=None
    )
    if options.encrypt_output and options.to.startswith("nvs"):
        text = "partitions of type data, nvs are not under flash encryption"
        raise UsageError("encrypted-output", f"--encrypt-output: {text}")


def _lost_signatures(source: Contents) -> Iterator[Loss]:
    signed = source.of_kind(kinds.SIGNATURE_BLOCK)
    if signed:
        blocks = "1 signature block" if len(signed) == 1 else f"{len(signed)} signature blocks"
        text = f"{blocks}, made over the bytes of the old partition"
        yield Loss("signature-lost", text, kinds.SIGNATURE_BLOCK, signed[0].offset)


def _against(reading: Reading, options: Options, losses: Iterable[Loss]) -> Iterator[Finding]:
    """What is wrong with the source's bytes, and what would be lost; accepted codes left out."""
    source = reading.require()
    context = verification.means().context(reading)
    wrong = [*structure.of_bytes(source, reading.contradiction)]
    wrong += [finding for finding in seals.check(context) if finding.code in _OF_BYTES]
    known = set()
    for finding in wrong:
        judged = dataclasses.replace(finding, in_migration=True)
        moot = finding.code in options.accept or finding.code in ASKED_AGAIN
        if judged.severity == ERROR and not moot:
            known.add(finding.code)
            yield judged
    for loss in losses:
        if loss.code not in options.accept and loss.code not in known:
            yield Finding(loss.code, f"would be left out: {loss.text}", loss.item, loss.offset)


def _misfits(items: list[Item], options: Options) -> Iterator[Finding]:
    """What the target cannot hold, or the chip cannot read."""
    # CSV and PEM hold all that TLV does.
    layout = tlv.NAME if options.to in (CSV, PEM) else options.to
    for misfit in registry.named(layout).misfits(items, layout):
        name = item_name(misfit.item.kind, misfit.item.index)
        yield Finding("does-not-fit", f"{name}: {misfit.text}", name, misfit.item.offset)
    chip = CHIPS[options.chip] if options.chip else None
    for item in items:
        if chip is None or item.kind != kinds.DS_CIPHERTEXT:
            continue
        length = chip.ds_ciphertext_length
        if length != len(item.data):
            wanted = f"{length} bytes" if length else "none, as it has no DS peripheral"
            text = f"{len(item.data)} bytes of ciphertext; {chip.name} reads {wanted}"
            yield Finding("ds-chip", f"{item.kind}: {text}", item.kind, item.offset)


def _write(items: list[Item], source: Contents, options: Options) -> bytes:
    if options.to != tlv.NAME:
        return registry.named(options.to).write(items, options.size, options.to)
    size = options.size
    if source.traits.placed:
        size = migration.partition_size(source, size)
    return tlv.write(items, size, integrity=options.integrity)


def _proven(output: bytes, items: list[Item], options: Options) -> Contents:
    """Read the new partition back through the spec and compare; any difference is a bug."""
    layout = registry.named(options.to)
    # Where no certificate tells the order of the pairs, the label does, as on the device.
    readings = (layout.read(output, label) for label in (kinds.LABEL, kinds.LABEL_PRE_PROV))
    result = next((one for one in readings if one.layout == options.to), None)
    if result is None or material(result.items) != material(items):
        raise InternalError("the items that were written are not those of the source")
    if any(item.intact is False for item in result.items):
        raise InternalError("an item that was written does not have its checksum")
    return result


def _files(items: list[Item], source: Contents, options: Options) -> dict[str, bytes]:
    """The files by relative name, the one that names the others last."""
    if options.to == PEM:
        return pem_directory.payloads(items, source.layout)
    name = options.csv_name
    # In a cell it must be a path on every system, and no formula in a spreadsheet.
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", PurePath(name).stem).lstrip("-._")
    folder = f"{stem or 'csv'}_contents"
    made = csv_writing.payloads(items, name=name, folder=folder, espcert_csv=options.espcert_csv)
    return {**{path: data for path, data in made.items() if path != name}, name: made[name]}


def _proven_files(made: dict[str, bytes], items: list[Item], options: Options) -> Contents:
    """Read the files back as an input and compare; any difference is a bug."""
    folder = Held(made)
    try:
        if options.to == PEM:
            result = pem_directory.read(folder)
        else:
            result = csv_material.read(made[options.csv_name], folder)
    except UnreadableError as error:
        # Only what is too large for our own limits is read otherwise than it was written.
        wanted = "files of a size that espcert reads"
        raise FormatError(options.to, expected=wanted, found=error.message) from error
    if material(result.items) != material(items):
        raise InternalError("the items that were written are not those of the source")
    return result


def _not_taken(reading: Reading) -> Iterator[Finding]:
    """Files of a PEM directory that are none of its items."""
    for finding in structure.of_bytes(reading.require(), None):
        if finding.code == kinds.FILES_NOT_TAKEN:
            yield dataclasses.replace(finding, offset=None)


def _warnings(
    items: list[Item], reading: Reading, options: Options, size: int
) -> Iterator[Finding]:
    """What the user must know of the new partition."""
    if options.to in _CUST_FLASH and not any(item.kind == kinds.CA_CERT for item in items):
        text = "there is no CA certificate, for which firmware then returns an error"
        yield Finding("cust-flash-no-ca", text)
    old = migration.left_behind(reading, size)
    if old is not None:
        yield Finding("left-behind", old, None, size)


def _changes(reading: Reading, losses: Iterable[Loss], options: Options) -> Iterator[str]:
    source = reading.require()
    if source.layout != options.to:
        yield f"layout {source.layout} → {options.to}"
    yield from (f"left out: {loss.text} ({loss.code})" for loss in losses)
    had = bool(source.of_kind(kinds.INTEGRITY))
    if options.to == tlv.NAME and options.integrity:
        yield "integrity entry remade" if had else "integrity entry added"
    elif had:
        yield "integrity entry left out"
    encrypt = options.encrypt_output
    yield from encrypted_output.changes(reading.image, wanted=encrypt, encrypted=encrypt)


def wanted_row(conversion: Conversion) -> str | None:
    """The line of the partition table under which firmware finds the new partition.

    None for what is no partition. `<offset>` stands for an offset that is not known.
    """
    contents, row = conversion.contents, conversion.reading.image.row
    if contents is None or not contents.traits.placed:
        return None
    traits = contents.traits
    subtype = NVS_SUBTYPE if traits.partition_type == kinds.TYPE_DATA else CUSTOMARY_SUBTYPE
    at = conversion.reading.image.address if row is None else row.offset
    offset = "<offset>" if at is None else f"{at:#x}"
    place = f"{traits.labels[0]}, {traits.partition_type:#x}, {subtype:#04x}, {offset}"
    flags = " encrypted" if conversion.sealed is not None else ""
    return f"{place}, {contents.size:#x},{flags}"


def to_json(conversion: Conversion, output: str | None) -> dict[str, Any]:
    """The object of `espcert convert --json`, without `schema` and `file`.

    `output` is the path that was written, None where nothing was.
    """
    written = conversion.file if output is not None else None
    contents = conversion.contents
    return detection.to_json(conversion.reading) | {
        "to": conversion.to,
        "output": output,
        "output_sha256": None if written is None else sha256(written),
        "files": list(conversion.files),
        "table_row": wanted_row(conversion),
        "items": inspection.items_to_json(contents) if contents else [],
        "findings": [finding.to_json() for finding in conversion.findings],
        "changes": list(conversion.changes),
    }
