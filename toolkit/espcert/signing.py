"""Sign a TLV partition so that firmware reaches and verifies the signature, proven by reading it.

Firmware hashes all bytes before the signature block of subtype 0 and takes the blocks of subtypes
0 to 2. Source: esp_secure_cert_mgr 2296511, esp_secure_cert_signature_verify.c,
calculate_partition_hash, esp_secure_cert_verify_partition_signature.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from espcert import checks, detection, inspection, migration, placement, verification
from espcert.catalogue import ACCEPTABLE, ERROR
from espcert.detection import Reading
from espcert.errors import InternalError, RefusedError, UsageError
from espcert.findings import Finding, item_name
from espcert.flashing import new_row, table_line
from espcert.migration import Migration
from espcert.placement import Placing
from espcert.settlement import LEAVE_SOMETHING_OUT, require_acceptable, settle
from espcert.signers import Signer
from espcert.sizes import require_size
from espcert.verification import PROVEN, UNPROVEN, Means
from espcert_formats import items as kinds
from espcert_formats import signature_block, tlv
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Item
from espcert_formats.signature_block import Scheme

ACCEPTED_HERE: Final = frozenset(ACCEPTABLE) - (LEAVE_SOMETHING_OUT - {kinds.TRAILING_DATA})
"""Codes that signing can accept: entries are kept as they are, so none may be left out."""

_SETTLED_BY_SEALING: Final = frozenset({"integrity-uncovered"})


@dataclass(frozen=True, slots=True)
class SigningOptions:
    """What signing is asked for; all of it optional.

    `size` is the partition's in bytes. `accept` names finding codes that are taken as they are.
    `means` (of `verification.means`) prove source and result. `partition_only` makes of a whole
    flash image the partition alone, `encrypt_output` encrypts what is written with the image's own
    flash encryption key.
    """

    size: int | None = None
    integrity: bool = True
    accept: frozenset[str] = frozenset()
    means: Means | None = None
    partition_only: bool = False
    encrypt_output: bool = False

    @property
    def placing(self) -> Placing:
        """Where the new partition goes."""
        return Placing(self.partition_only, encrypt_output=self.encrypt_output)

    def __post_init__(self) -> None:
        object.__setattr__(self, "accept", frozenset(self.accept))
        if self.means is None:
            object.__setattr__(self, "means", verification.means())
        require_acceptable(self.accept)
        refused = sorted(self.accept - ACCEPTED_HERE)
        if refused:
            text = "signing keeps entries as they are; `espcert migrate` takes it"
            raise UsageError("unknown-code", f"--accept {refused[0]}: {text}")
        require_size(self.size)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be signed: the entries without seals, byte for byte, and what is told of them.

    `material` is None where signing is refused; `findings` then say why. `before` are all
    findings on the source.
    """

    reading: Reading
    material: bytes | None = field(repr=False)
    findings: tuple[Finding, ...]
    changes: tuple[str, ...] = ()
    before: tuple[Finding, ...] = field(default=(), repr=False)

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The errors, accepted ones left out."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)

    def digest(self, scheme: Scheme) -> bytes:
        """What a key of the scheme signs. Raises UsageError where signing is refused."""
        if self.material is None:
            raise UsageError("refused", "refused: " + "; ".join(o.message for o in self.blocking))
        return hashlib.new(scheme.digest, self.material).digest()


@dataclass(frozen=True, slots=True)
class Signing(Migration):
    """The outcome: as of a migration, and with it what was signed by whom, with which scheme."""

    signed_length: int = 0
    digest: bytes = b""
    signers: tuple[Signer, ...] = ()


def unsigned(reading: Reading, options: SigningOptions | None = None) -> Unsigned:
    """What of an image is to be signed. Old seals and what lies behind the entries are left out.

    Raises UnreadableError where the image is no known layout, RefusedError where it is no current
    TLV partition, which `migrate` makes of it.
    """
    options = options or SigningOptions()
    source, given = reading.require(), options.means
    assert given is not None
    _refuse_other_layouts(reading, options)
    before = tuple(map(migration.in_migration, checks.run(given.context(reading))))
    settled = settle(
        before,
        accept=options.accept,
        mended=(),
        drops_signatures=True,
        leaves_table=options.partition_only,
    )
    found = [one for one in settled.standing if one.code not in _SETTLED_BY_SEALING]
    material = tlv.unsealed(source.data)
    if not material:
        found.append(Finding("nothing-left", "the image holds seals only, nothing to sign"))
    told = tuple(migration.worth_telling(found))
    if any(finding.severity == ERROR for finding in found):
        return Unsigned(reading, None, told)
    if not source.current:
        text = "its entries are of an old form (flags or reserved bytes): `espcert migrate` first"
        raise RefusedError("not-current", text)
    changes = (*settled.told, *_removed(source))
    return Unsigned(reading, material, told, changes, before)


def _refuse_other_layouts(reading: Reading, options: SigningOptions) -> None:
    layout, row = reading.require().layout, reading.image.row
    if layout != tlv.NAME:
        text = f"layout {layout}, expected tlv, the only one with signatures"
        raise RefusedError("not-tlv", f"{text}: `espcert migrate` first")
    if row is not None and not options.partition_only and new_row(row) != row:
        line = table_line(row)
        text = f"firmware does not look for TLV under this row of the table: {line}"
        raise RefusedError("not-current", f"{text} `espcert migrate` first")


def _removed(source: Contents) -> Iterator[str]:
    """Lines of `changes` on what is not carried over."""
    blocks, seals = len(source.of_kind(kinds.SIGNATURE_BLOCK)), source.of_kind(kinds.INTEGRITY)
    if blocks:
        yield f"left out: {blocks} signature block{'s' if blocks > 1 else ''}, the old signature"
    if len(seals) > 1:
        yield f"left out: {len(seals)} integrity entries"
    for anomaly in source.anomalies:
        if anomaly.code == kinds.END_MARKER:
            yield f"end marker ff ff 00 00 at {anomaly.offset:#x} → ff ff ff ff"
        elif anomaly.code == kinds.TRAILING_DATA:
            yield f"left out: {anomaly.found} and what follows ({anomaly.code})"


def sign(
    reading: Reading, signers: Sequence[Signer], options: SigningOptions | None = None
) -> Signing:
    """Sign an image that was read: blocks of the signers in their order, then integrity.

    The entries are kept byte for byte. Source and result are verified, and each block is read
    back and proven with its own key. Raises what `unsigned` raises, UsageError where the signers
    are none, too many or not of one scheme, RefusedError where a signature that
    was made elsewhere does not verify.
    """
    options = options or SigningOptions()
    scheme = common_scheme(signers)
    source = unsigned(reading, options)
    size = migration.size_for(reading, options.size, options.placing)
    if source.material is None:
        return Signing(reading, None, None, source.findings, (), size)
    digest, length = source.digest(scheme), len(source.material)
    blocks = [signer.block(digest, length) for signer in signers]
    try:
        output = _written(source.material, blocks, size, options)
    except FormatError as error:
        return _refused(source, [Finding("does-not-fit", str(error))], size)
    return _finished(source, output, size, tuple(signers), options)


def common_scheme(signers: Sequence[Signer]) -> Scheme:
    """The scheme of all signers. Raises UsageError where there is none, or they do not fit."""
    if not 1 <= len(signers) <= signature_block.MAX_BLOCKS:
        text = f"{len(signers)} signatures, expected 1 to {signature_block.MAX_BLOCKS}"
        raise UsageError("bad-keys", f"{text}, which is what firmware reads")
    first = signers[0]
    for other in signers[1:]:
        if other.scheme != first.scheme:
            text = f"{other.name}: {other.scheme.name}, but {first.name}: {first.scheme.name}"
            raise UsageError("bad-keys", f"{text}; all keys must be of one scheme")
    return first.scheme


def _written(material: bytes, blocks: Sequence[bytes], size: int, options: SigningOptions) -> bytes:
    """The new partition. Raises FormatError where it does not fit."""
    body = tlv.with_signatures(material, blocks)
    return tlv.fill(tlv.with_integrity(body) if options.integrity else body, size)


def _refused(source: Unsigned, found: Sequence[Finding], size: int) -> Signing:
    told = tuple(migration.worth_telling([*source.findings, *found]))
    return Signing(source.reading, None, None, told, (), size)


def _finished(
    source: Unsigned, output: bytes, size: int, signers: tuple[Signer, ...], options: SigningOptions
) -> Signing:
    """The outcome, where the partition that was written is right in every respect."""
    reading, given, material = source.reading, options.means, source.material
    assert given is not None
    assert material is not None
    result = _read_back(output, size, material, signers)
    trusting = dataclasses.replace(given, signing_key=signers[0].public)
    after = [migration.in_migration(one) for one in checks.run(trusting.context(result))]
    _prove(after, len(signers))
    old = migration.left_behind(reading, size)
    found = [Finding("does-not-fit", old, None, size)] if old else []
    found += migration.new_in_result(after, source.before, options.accept)
    if any(finding.severity == ERROR for finding in found):
        return _refused(source, found, size)
    image, placing = reading.image, options.placing
    flashing = placement.flashed(image, output, placing)
    sealed = placement.sealed(image, output, placing)
    in_flash = placement.changes(image, placing, flashing, sealed)
    return Signing(
        reading,
        output,
        result,
        tuple(migration.worth_telling([*source.findings, *found])),
        (*source.changes, *_added(reading.require(), signers, options), *in_flash),
        size,
        size_given=options.size is not None or reading.image.row is not None,
        kept=sum(item.kind not in kinds.SEALS for item in result.items),
        proven=tuple(one for one in after if one.code in PROVEN | UNPROVEN | {_VALID}),
        flashing=flashing,
        sealed=sealed,
        chip=given.chip.name if given.chip else None,
        partition_only=options.partition_only,
        signed_length=len(material),
        digest=source.digest(signers[0].scheme),
        signers=signers,
    )


_VALID: Final = "signature-valid"


def _added(source: Contents, signers: Sequence[Signer], options: SigningOptions) -> Iterator[str]:
    for index, signer in enumerate(signers):
        how = "signed with" if signer.private is not None else "the signature"
        yield f"added: {item_name(kinds.SIGNATURE_BLOCK, index)}, {how} {signer.name}"
    had = bool(source.of_kind(kinds.INTEGRITY))
    if options.integrity:
        yield "integrity entry remade" if had else "integrity entry added"
    elif had:
        yield "integrity entry left out (--no-integrity)"


def _read_back(output: bytes, size: int, material: bytes, signers: Sequence[Signer]) -> Contents:
    """The new partition as it is read; any difference from what was meant is a bug."""
    result = tlv.read(output)
    blocks = result.of_kind(kinds.SIGNATURE_BLOCK)
    if len(output) != size or not result.current or not output.startswith(material):
        raise InternalError("the partition that was signed does not read back as it was")
    if tlv.unsealed(output) != material or blocks[0].entry_offset != len(material):
        raise InternalError("the entries that were signed changed")
    if [item.index for item in blocks] != list(range(len(signers))):
        raise InternalError("the signature blocks that were written are not those that are read")
    for item, signer in zip(blocks, signers, strict=True):
        if not signer.is_of(signature_block.read(item.data)):
            raise InternalError(f"signature block {item.index} holds another key")
    return result


def _prove(after: Sequence[Finding], blocks: int) -> None:
    """Every block verifies, and the first one's key is that of the first signer."""
    codes = [finding.code for finding in after]
    wrong = {"signature-foreign", "signature-missing"} & set(codes)
    if codes.count(_VALID) != blocks or wrong:
        raise InternalError("a signature that was written does not verify")


def to_json(signing: Signing, output: str | None) -> dict[str, Any]:
    """The object of `espcert sign --json`, without `schema` and `file`.

    `output` is the path that was written, None where nothing was.
    """
    written = signing.file if output is not None else None
    digest = None
    if signing.signers:
        digest = _digest_json(signing.signers[0].scheme, signing.digest, signing.signed_length)
    blocks = signing.contents.of_kind(kinds.SIGNATURE_BLOCK) if signing.contents else ()
    return detection.to_json(signing.reading) | {
        "output": output,
        "output_sha256": None if written is None else sha256(written),
        "digest": digest,
        "signatures": [_signature_json(item) for item in blocks],
        "items": inspection.items_to_json(signing.contents) if signing.contents else [],
        "findings": [finding.to_json() for finding in signing.findings],
        "changes": list(signing.changes),
        "flash_command": migration.flash_command(signing, output),
    }


def digest_to_json(source: Unsigned, scheme: Scheme, output: str | None) -> dict[str, Any]:
    """The same object where a digest is all that is written, to the path `output`."""
    digest = None
    if source.material is not None:
        digest = _digest_json(scheme, source.digest(scheme), len(source.material))
    return detection.to_json(source.reading) | {
        "output": output,
        "output_sha256": None if output is None else sha256(source.digest(scheme)),
        "digest": digest,
        "signatures": [],
        "items": [],
        "findings": [finding.to_json() for finding in source.findings],
        "changes": list(source.changes),
        "flash_command": None,
    }


def _digest_json(scheme: Scheme, digest: bytes, length: int) -> dict[str, Any]:
    return {
        "scheme": scheme.name,
        "algorithm": scheme.digest,
        "value": digest.hex(),
        "signed_length": length,
    }


def _signature_json(item: Item) -> dict[str, Any]:
    block = signature_block.read(item.data)
    key = sha256(block.key_bytes)
    return {"index": item.index, "scheme": block.scheme.name, "key_sha256": key}
