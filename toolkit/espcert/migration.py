"""Rewrite a partition as a current TLV partition, proven before it is handed out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

from espcert import certificates, checks, detection, inspection
from espcert.checks import structure
from espcert.checks.ds import missing_parts
from espcert.chips import CHIPS
from espcert.detection import Reading
from espcert.errors import InternalError, UsageError
from espcert.findings import ACCEPTABLE, ERROR, Finding, item_name
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.flash import SECTOR, is_erased
from espcert_formats.items import Contents, Item

MIN_SIZE: Final = 0x2000
MAX_SIZE: Final = 0x10000000

_MISSING_CODES: Final = ("missing-device-cert", "missing-ca-cert", "missing-key")
"""Asked again of what is kept and supplied."""
_TAKEN_AS_STORED: Final = ("label-contradiction", "ds-chip", "ds-key-id", "ds-key-size")
"""Accepting these leaves nothing out; that they were accepted is told all the same."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a migration is asked for; all of it optional.

    `size` is the partition's in bytes. `accept` names finding codes whose loss is taken.
    `device_cert` and `ca_cert` are certificate files (PEM or DER) that the source may lack.
    """

    size: int | None = None
    integrity: bool = True
    accept: frozenset[str] = frozenset()
    device_cert: bytes | None = field(default=None, repr=False)
    ca_cert: bytes | None = field(default=None, repr=False)
    chip: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def __post_init__(self) -> None:
        object.__setattr__(self, "accept", frozenset(self.accept))
        if self.chip is not None and self.chip not in CHIPS:
            raise UsageError("unknown-chip", f"{self.chip!r}: none of {', '.join(CHIPS)}")
        unknown = sorted(self.accept - set(ACCEPTABLE))
        if unknown:
            raise UsageError(
                "unknown-code",
                f"--accept {unknown[0]}: not a code that can be accepted; "
                f"there are {', '.join(ACCEPTABLE)}",
            )
        if self.size is not None and self.size > MAX_SIZE:
            raise UsageError(
                "bad-size", f"--size {self.size:#x}: no flash is larger than {MAX_SIZE:#x}"
            )
        if self.size is not None and (self.size <= 0 or self.size % SECTOR):
            raise UsageError(
                "bad-size", f"--size {self.size:#x}: a partition has whole sectors of 0x1000 bytes"
            )


@dataclass(frozen=True, slots=True)
class Migration:
    """The outcome. `output` is the new partition, None where the migration is refused."""

    reading: Reading
    output: bytes | None = field(repr=False)
    contents: Contents | None
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    size: int

    @property
    def refused(self) -> bool:
        """Whether something would be lost that was not accepted."""
        return self.output is None

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The errors, accepted ones left out."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)


def migrate(reading: Reading, options: Options | None = None) -> Migration:
    """Rewrite an image that was read as a current TLV partition.

    An image that is current already keeps its entries byte for byte. Every other is written anew,
    read back and compared item by item. Raises UnreadableError where the image is no known
    layout, UsageError where an option contradicts it.
    """
    options = options or Options()
    source = reading.require()
    size = partition_size(source, options.size)
    plan = _Plan(source, options)
    found = [
        finding
        for finding in checks.run(reading, at=options.at, chip=options.chip)
        if not plan.takes(finding)
    ]
    found += plan.findings()
    output: bytes | None = None
    if not _errors(found):
        try:
            output = plan.write(size)
            found += _left_behind(reading, size)
        except FormatError as error:
            found.append(Finding("does-not-fit", str(error)))
    if output is None or _errors(found):
        return Migration(reading, None, None, tuple(found), (), size)
    result = _proven(output, plan, size)
    findings = tuple(finding for finding in found if finding.code not in plan.mended)
    return Migration(reading, output, result, findings, tuple(plan.changes), size)


def _errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == ERROR for finding in findings)


def partition_size(source: Contents, given: int | None = None) -> int:
    """Bytes to fill: what was given, else the image's length in whole sectors, with a minimum.

    The minimum covers all of flash over which the old layout spreads its material: a legacy
    private key lies at 0x1840 and may reach 0x2840.

    Raises UsageError where the given size is below the minimum for the layout.
    """
    extent = source.traits.extent
    minimum = max(MIN_SIZE, extent)
    if given is None:
        return max(minimum, -(-_length(source) // SECTOR) * SECTOR)
    if given < minimum:
        raise UsageError(
            "bad-size",
            f"--size {given:#x}: at least {minimum:#x} from {source.layout}, or old material "
            "would stay in flash behind the new partition",
        )
    return given


def _length(source: Contents) -> int:
    """The image's bytes; one more than the layout's extent is a slip of a known writer."""
    extent = source.traits.extent
    return extent if source.size == extent + 1 else source.size


def _left_behind(reading: Reading, size: int) -> list[Finding]:
    """Bytes of the source behind the new partition's end would survive flashing it."""
    length = _length(reading.require())
    if is_erased(reading.image.data[size:length]):
        return []
    message = f"the image holds data behind {size:#x}, where the new partition would end"
    return [Finding("does-not-fit", message, None, size)]


class _Plan:
    """What is written: the items that stay, those that are added, and how it is told."""

    def __init__(self, source: Contents, options: Options) -> None:
        self.source = source
        self.options = options
        self.changes: list[str] = []
        self.mended: set[str] = set()
        self.incomplete: list[Item] = []
        self.items = self._kept_items()
        self.supplied = self._supplied_items()
        dropped = len(self.items) != len(source.items)
        self.keeps_entries = source.current and not dropped and not self.supplied

    def findings(self) -> list[Finding]:
        """What is lost by writing anew or by leaving damaged items out, if not accepted."""
        return [*self._losses(), *structure.missing([*self.items, *self.supplied])]

    def _losses(self) -> list[Finding]:
        if self.incomplete and "ds-incomplete" not in self.options.accept:
            first = self.incomplete[0]
            names = ", ".join(item_name(item.kind, item.index) for item in self.incomplete)
            message = f"{names}: useless without the parts of the DS key that are damaged"
            return [Finding("ds-incomplete", message, first.kind, first.offset)]
        wanted = [item for item in (*self.items, *self.supplied) if item.kind not in kinds.SEALS]
        if not wanted and not self.keeps_entries:
            return [Finding("nothing-left", "no item is left to write")]
        signed = [item for item in self.items if item.kind == kinds.SIGNATURE_BLOCK]
        if not signed or self.keeps_entries or "signature-lost" in self.options.accept:
            return []
        message = f"{len(signed)} signature blocks would not verify after rewriting"
        return [Finding("signature-lost", message, kinds.SIGNATURE_BLOCK, signed[0].offset)]

    def takes(self, finding: Finding) -> bool:
        """Whether a finding on the source is settled: accepted, or said of what is kept instead."""
        accepted = finding.code in self.options.accept
        if accepted and finding.code in _TAKEN_AS_STORED:
            self.changes.append(f"accepted: {finding.message} ({finding.code})")
        return accepted or finding.code in _MISSING_CODES

    def expected(self) -> Counter[tuple[Any, ...]]:
        """The material that the result must hold, as a multiset."""
        return _material([*self.items, *self.supplied])

    def write(self, size: int) -> bytes:
        """The new partition. Raises FormatError where it does not fit."""
        self._note_losses()
        if self.keeps_entries:
            return self._write_kept(size)
        self._note_rewriting()
        wanted = [item for item in [*self.items, *self.supplied] if item.kind not in kinds.SEALS]
        return tlv.write(wanted, size, integrity=self.options.integrity)

    def _write_kept(self, size: int) -> bytes:
        """Seals included; where the bytes behind them were no erased flash, they become so."""
        for anomaly in self.source.anomalies:
            if anomaly.code == kinds.END_MARKER:
                self.changes.append(f"end marker ff ff 00 00 at {anomaly.offset:#x} → ff ff ff ff")
                self.mended.add(anomaly.code)
        return tlv.fill(self.source.used, size)

    def _kept_items(self) -> list[Item]:
        """Source items without what is damaged, double or incomplete."""
        kept: list[Item] = []
        seen: set[tuple[str, int]] = set()
        for item in self.source.items:
            if item.intact is False or _is_void(item):
                continue
            if (item.kind, item.index) in seen and item.kind != kinds.INTEGRITY:
                name = item_name(item.kind, item.index)
                self.changes.append(
                    f"left out: {name} at {item.offset:#x}, a second one (duplicate-entry)"
                )
                continue
            seen.add((item.kind, item.index))
            kept.append(item)
        return [item for item in kept if not self._is_incomplete_ds(item, kept)]

    def _is_incomplete_ds(self, item: Item, kept: Sequence[Item]) -> bool:
        if item.kind not in kinds.DS_MATERIAL:
            return False
        group = {
            other.kind: other
            for other in kept
            if other.kind in kinds.DS_MATERIAL and other.index == item.index
        }
        incomplete = any(True for _ in missing_parts(group))
        if incomplete:
            name = item_name(item.kind, item.index)
            self.incomplete.append(item)
            self.changes.append(
                f"left out: {name} at {item.offset:#x}, of an incomplete DS key (ds-incomplete)"
            )
        return incomplete

    def _supplied_items(self) -> list[Item]:
        wanted = (
            (kinds.DEVICE_CERT, "--device-cert", self.options.device_cert),
            (kinds.CA_CERT, "--ca-cert", self.options.ca_cert),
        )
        supplied = []
        for kind, option, data in wanted:
            item = None if data is None else self._supplied(kind, option, data)
            if item is not None:
                supplied.append(item)
                self.changes.append(f"added: {kind} from {option}, {len(item.data)} bytes")
        return supplied

    def _supplied(self, kind: str, option: str, data: bytes) -> Item | None:
        stored = certificates.stored_form(data)
        if stored is None:
            raise UsageError("bad-certificate", f"{option}: not an X.509 certificate (PEM or DER)")
        for item in self.items:
            if item.kind == kind and item.index == 0:
                if certificates.same_certificates(item.data, stored):
                    return None
                raise UsageError(
                    "other-certificate",
                    f"{option}: the image holds another {kind}, at {item.offset:#x}; "
                    "nothing is replaced",
                )
        if kind == kinds.DEVICE_CERT:
            self._require_fit(option, stored)
        return Item(kind=kind, index=0, data=stored, spans=(), intact=None, flags=0)

    def _require_fit(self, option: str, certificate: bytes) -> None:
        """The certificate must fit the key: wholly where it is in plain text, by size for DS."""
        public = certificates.public_key(certificate)
        for item in self.items:
            if item.index != 0 or public is None:
                continue
            fits = True
            if item.kind == kinds.PRIVATE_KEY and item.protection == kinds.PLAINTEXT:
                private = certificates.load_private_key(item.data)
                fits = private is None or certificates.same_key(private, public)
            elif item.kind == kinds.DS_CONTEXT:
                fits = certificates.key_name(public) == f"RSA {item.rsa_bits}"
            if not fits:
                raise UsageError(
                    "other-certificate",
                    f"{option}: the certificate's key ({certificates.key_name(public)}) is not "
                    f"that of the {item.kind} in the image",
                )

    def _note_losses(self) -> None:
        accept = self.options.accept
        for anomaly in self.source.anomalies:
            if anomaly.code == kinds.RESERVED_BYTES and not self.keeps_entries:
                self.changes.append(f"{anomaly.found} at {anomaly.offset:#x} → {anomaly.expected}")
                self.mended.add(anomaly.code)
            if anomaly.code == kinds.ITEM_CRC and anomaly.kind:
                name = item_name(anomaly.kind, anomaly.index)
                self.changes.append(f"left out: {name} at {anomaly.offset:#x}, damaged (item-crc)")
        codes = Counter(anomaly.code for anomaly in self.source.anomalies)
        for code in (kinds.TRAILING_DATA, kinds.NVS_DAMAGE):
            if code in accept and codes[code]:
                self.changes.append(f"left out: bytes that belong to no item ({code})")
        if "other-data" in accept:
            for entry in self.source.other_entries:
                name = printable(f"{entry.namespace}/{entry.key}")
                self.changes.append(f"left out: NVS entry {name} (other-data)")

    def _note_rewriting(self) -> None:
        source = self.source
        if source.layout != tlv.NAME:
            self.changes.insert(0, f"layout {source.layout} → {tlv.NAME}")
        erased = sum(
            item.flags == 0xFF
            for item in self.items
            if item.kind not in (kinds.DS_IV, *kinds.SEALS)
        )
        if erased:
            self.changes.append(f"flags and reserved bytes 0xff → 0x00 in {erased} entries")
        elif source.layout == tlv.NAME and not source.current:
            self.changes.append("entries written anew in canonical order")
        signed = sum(item.kind == kinds.SIGNATURE_BLOCK for item in self.items)
        if signed:
            self.changes.append(f"left out: {signed} signature blocks (signature-lost)")
        had = any(item.kind == kinds.INTEGRITY for item in source.items)
        if self.options.integrity:
            self.changes.append("integrity entry remade" if had else "integrity entry added")
        elif had:
            self.changes.append("integrity entry left out (--no-integrity)")
        if any(anomaly.code == kinds.END_MARKER for anomaly in source.anomalies):
            self.changes.append("end marker ff ff 00 00 → ff ff ff ff")
            self.mended.add(kinds.END_MARKER)


def _is_void(item: Item) -> bool:
    """Whether a legacy layout names an item of no bytes: only TLV stores empty entries."""
    return not item.data and item.entry_offset is None


def _material(items: Iterable[Item]) -> Counter[tuple[Any, ...]]:
    """Items as a multiset of what must survive: seals aside, flags 0xFF meaning 0x00."""
    return Counter(
        (
            item.kind,
            item.index,
            item.data,
            item.protection,
            0 if item.flags in (None, 0xFF) else item.flags,
        )
        for item in items
        if item.kind not in kinds.SEALS
    )


def _proven(output: bytes, plan: _Plan, size: int) -> Contents:
    """Read the new partition back through the spec and compare; any difference is a bug."""
    result = tlv.read(output)
    odd = [anomaly for anomaly in result.anomalies if anomaly.code != kinds.RESERVED_BYTES]
    if odd or not result.current or len(output) != size:
        raise InternalError("the partition that was written does not read back as current")
    if plan.keeps_entries and output[: plan.source.end] != plan.source.used:
        raise InternalError("the entries of a current image changed")
    if _material(result.items) != plan.expected():
        raise InternalError("the items that were written are not those of the source")
    for item in result.of_kind(kinds.DS_CIPHERTEXT):
        _prove_rsa_length(item, plan.items)
    return result


def _prove_rsa_length(written: Item, source: Sequence[Item]) -> None:
    """The key size in front of the IV is the source's own word, or that of its context."""
    group = {item.kind: item for item in source if item.index == written.index}
    stored = group[kinds.DS_CIPHERTEXT].rsa_length
    bits = group[kinds.DS_CONTEXT].rsa_bits or 0
    if written.rsa_length != (bits // 32 - 1 if stored is None else stored):
        raise InternalError("the key size of the DS data changed")


def table_line(size: int, offset: int | None) -> str:
    """The partition-table line under which today's firmware finds a TLV partition.

    Source: esp_secure_cert_mgr 2296511, esp_secure_cert_map_partition (type 0x3F, this label).
    """
    where = "<offset>" if offset is None else f"{offset:#x}"
    return f"{kinds.LABEL}, {kinds.TYPE_SECURE_CERT:#x}, 0x06, {where}, {size:#x},"


def to_json(migration: Migration, output: str | None) -> dict[str, Any]:
    """The object of `espcert migrate --json`, without `schema` and `file`.

    `output` is the path that was written, None where nothing was.
    """
    written = migration.output if output is not None else None
    return detection.to_json(migration.reading) | {
        "output": output,
        "output_sha256": None if written is None else sha256(written),
        "items": inspection.items_to_json(migration.contents) if migration.contents else [],
        "findings": [finding.to_json() for finding in migration.findings],
        "changes": list(migration.changes),
        "partition_table": {"before": None, "after": table_line(migration.size, None)},
        "flash_command": None,
    }
