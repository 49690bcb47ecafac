"""The seals of a TLV partition: integrity entries and signature blocks.

Both speak for bytes, not for items: an integrity entry for all bytes before it, a signature block
for all bytes before the block of subtype 0. Sources: esp_secure_cert_mgr 2296511,
esp_secure_cert_verify_partition_integrity and esp_secure_cert_verify_partition_signature; for
keys and signatures secure boot v2, esptool bb72741, espsecure/__init__.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from espcert.checks.context import Context, is_hmac_encrypted
from espcert.findings import Finding, item_name, of_item
from espcert_formats import items as kinds
from espcert_formats import signature_block
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Item, Span
from espcert_formats.signature_block import EcdsaPart, RsaPart, SignatureBlock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SHA256_LENGTH: Final = 32
PSS_SALT_LENGTH: Final = 32
"""Bytes of the salt in an RSA signature. Source: espsecure, verify_signature_v2."""

_NAMES_SHOWN: Final = 8
_DIGEST_SHOWN: Final = 16
"""Hex digits of a digest in a message that compares two of them."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on the seals. Only TLV partitions have any: they are made over its bytes."""
    contents = context.contents
    first = None
    if contents.traits.placed:
        yield from _integrity(contents)
        yield from _unreleased(contents)
        yield from _unreachable(contents)
        yield from _subtypes(contents)
        first = _first_block(contents)
    if first is not None:
        yield from _signatures(context, first)
    elif context.signing_key is not None:
        message = "there is no signature block that firmware reaches, and a signing key was given"
        yield Finding("signature-missing", message)


def _entry(item: Item) -> int:
    """Where the item's entry begins: the end of what a seal in it covers."""
    return item.offset if item.entry_offset is None else item.entry_offset


def _names(items: Iterable[Item]) -> str:
    """The entries that hold the items by name, the first few."""
    entries: dict[int, str] = {}
    for item in items:
        entries.setdefault(_entry(item), item_name(item.kind, item.index))
    names = list(entries.values())
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _material_behind(contents: Contents, offset: int) -> list[Item]:
    """The items of entries behind an offset that are no seals."""
    return [item for item in contents.items if _entry(item) > offset and not _is_seal(item)]


def _is_seal(item: Item) -> bool:
    return item.kind in kinds.SEALS or _is_unreleased(item)


# --- Integrity entries -------------------------------------------------------------------------


def _integrity(contents: Contents) -> Iterator[Finding]:
    entries = contents.of_kind(kinds.INTEGRITY)
    if not entries:
        return
    yield from _each_integrity(contents, entries)
    last = entries[-1]
    if len(entries) > 1:
        text = f"the last of {len(entries)} integrity entries, at {_entry(last):#x}; "
        yield of_item("integrity-several", last, text + "firmware checks only this one")
    behind = _material_behind(contents, _entry(last))
    if behind:
        text = f"behind the last integrity entry, at {_entry(last):#x}, which does not protect "
        yield of_item("integrity-uncovered", behind[0], text + _names(behind))


def _each_integrity(contents: Contents, entries: Sequence[Item]) -> Iterator[Finding]:
    """One finding for each whole entry; the bytes are hashed once, whatever their number."""
    import hashlib

    hasher, hashed, view = hashlib.sha256(), 0, memoryview(contents.data)
    last = next((item for item in reversed(entries) if item.intact is not False), None)
    for item in entries:
        hasher.update(view[hashed : _entry(item)])
        hashed = _entry(item)
        if item.intact is not False:
            yield _integrity_of(item, hasher.digest(), counts=item is last)


def _integrity_of(item: Item, digest: bytes, *, counts: bool) -> Finding:
    """What one entry says; only the last one counts, which covers those before it."""
    covered = f"the {_entry(item)} bytes before it"
    if len(item.data) != SHA256_LENGTH:
        text = f"{len(item.data)} bytes, expected the {SHA256_LENGTH} of a SHA-256 digest"
        return of_item("integrity-malformed", item, text)
    if item.data != digest:
        text = f"SHA-256 {_short(item.data)}, expected {_short(digest)} of {covered}"
        return of_item("integrity-mismatch" if counts else "integrity-several", item, text)
    return of_item("integrity-valid", item, f"it is the SHA-256 of {covered}")


def _short(digest: bytes) -> str:
    return f"{digest.hex()[:_DIGEST_SHOWN]}..."


# --- Where signature blocks lie ----------------------------------------------------------------


def _first_block(contents: Contents) -> Item | None:
    """The block that firmware looks for first, and up to which all blocks sign.

    Source: esp_secure_cert_signature_verify.c, calculate_partition_hash.
    """
    blocks = contents.of_kind(kinds.SIGNATURE_BLOCK)
    return next((item for item in blocks if item.index == 0), None)


def _is_unreleased(item: Item) -> bool:
    """Whether an entry is a block of the form before 2.8.0, damaged or not.

    It had type 7 at first, which is that of a TEE key, and then type 8.
    """
    if item.kind == kinds.SIGNATURE_BLOCK:
        return len(item.data) == signature_block.UNRELEASED_LENGTH
    return item.kind == kinds.TEE_KEY and signature_block.has_unreleased_form(item.data)


def _unreleased(contents: Contents) -> Iterator[Finding]:
    lengths = sorted(scheme.length for scheme in signature_block.SCHEMES.values())
    for item in contents.items:
        if _is_unreleased(item):
            text = f"a signature block of {len(item.data)} bytes, a form that was never released; "
            text += f"expected {', '.join(map(str, lengths[:-1]))} or {lengths[-1]} bytes"
            yield of_item("signature-unreleased", item, text)


def _unreachable(contents: Contents) -> Iterator[Finding]:
    for item in contents.unreached:
        if item.kind == kinds.SIGNATURE_BLOCK:
            text = f"in an entry at {_entry(item):#x}, expected before the end of the entries at "
            text += f"{contents.end:#x}, where firmware stops looking"
            yield of_item("signature-unreachable", item, text)
    blocks = contents.of_kind(kinds.SIGNATURE_BLOCK)
    if blocks and _first_block(contents) is None:
        text = "firmware looks for the block of subtype 0 first, finds none, and verifies nothing"
        yield of_item("signature-unreachable", blocks[0], text)


def _subtypes(contents: Contents) -> Iterator[Finding]:
    blocks = contents.of_kind(kinds.SIGNATURE_BLOCK)
    for place, item in enumerate(blocks):
        if item.index != place or place >= signature_block.MAX_BLOCKS:
            found = ", ".join(str(one.index) for one in blocks[:_NAMES_SHOWN])
            more = ", ..." if len(blocks) > _NAMES_SHOWN else ""
            text = f"the signature blocks have the subtypes {found}{more}, expected 0, 1 and 2 "
            yield of_item("signature-subtypes", item, text + "in this order, and no others")
            return


# --- What signature blocks cover ---------------------------------------------------------------


def _signatures(context: Context, first: Item) -> Iterator[Finding]:
    contents, end = context.contents, _entry(first)
    behind = _material_behind(contents, end)
    covers_any = any(_entry(item) < end and not _is_seal(item) for item in contents.items)
    if behind and not covers_any:
        text = f"it lies before {_names(behind)}, expected behind what it is to protect"
        made_over = _made_over_what_follows(contents, first, _entry(behind[0]))
        yield of_item("signature-order", first, text + made_over)
        return
    blocks = [
        item
        for item in _read_by_firmware(contents)
        if item.intact is not False and not _is_unreleased(item)
    ]
    for item in blocks:
        yield from _block(context, item, end)
    yield from _foreign(context, blocks)
    if behind:
        text = f"behind the signature, at {end:#x}, which does not protect {_names(behind)}"
        yield of_item("signature-uncovered", behind[0], text)


def _read_by_firmware(contents: Contents) -> Iterable[Item]:
    """The first block of each of the subtypes 0, 1 and 2, in flash order.

    Others are named by signature-subtypes, and not judged: no device looks at them.
    """
    found: dict[int, Item] = {}
    for item in contents.of_kind(kinds.SIGNATURE_BLOCK):
        if item.index < signature_block.MAX_BLOCKS:
            found.setdefault(item.index, item)
    return found.values()


def _made_over_what_follows(contents: Contents, first: Item, start: int) -> str:
    """Words for a signature that was put before the entries it was made over."""
    try:
        block = signature_block.read(first.data)
        made_over = _made_over(block, contents, [Span(start, block.signed_length)])
    except (FormatError, _UnsupportedCurveError):
        return ""
    return "" if made_over is None else f"; it was made over {_stretch(made_over)}"


def _block(context: Context, item: Item, end: int) -> Iterator[Finding]:
    """Findings on one block, of which `end` bytes from the start should be signed."""
    try:
        block = _read(item)
    except FormatError as error:
        text = f"found {error.found}, expected {error.expected}"
        yield of_item("signature-malformed", item, text, item.offset + (error.offset or 0))
        return
    faults = list(_crc(item, block))
    try:
        faults += _fault(context.contents, item, block, end)
    except _UnsupportedCurveError:
        text = f"found {block.scheme.name}, which the cryptography library here does not support"
        yield of_item("signature-not-proven", item, text)
        return
    yield from faults or [_valid(context, item, block, end)]


def _read(item: Item) -> SignatureBlock:
    """The block. Firmware never takes one with flags of a secret as it is stored.

    Source: esp_secure_cert_tlv_read.c, esp_secure_cert_tlv_get_addr; no version that verifies
    signatures opens what is encrypted under HMAC.
    """
    flags = item.flags or 0
    if is_hmac_encrypted(item) or flags & 0xC0 == kinds.HMAC_DERIVED_FLAG:
        raise FormatError(
            signature_block.NAME,
            expected="no flags for a secret: firmware would decrypt or derive the block",
            found=f"flags {flags:#04x}",
        )
    return signature_block.read(item.data)


def _crc(item: Item, block: SignatureBlock) -> Iterator[Finding]:
    part = block.part
    if isinstance(part, RsaPart) and part.crc_stored != part.crc_computed:
        text = (
            f"CRC-32 {part.crc_stored:#010x} in the RSA block, expected {part.crc_computed:#010x}"
        )
        at = item.offset + signature_block.HEADER_LENGTH + signature_block.RSA_CHECKED_LENGTH
        yield of_item("signature-crc", item, text, at)


def _valid(context: Context, item: Item, block: SignatureBlock, end: int) -> Finding:
    text = f"the {block.scheme.name} signature verifies over {_stretch(Span(0, end))}; the SHA-256 "
    text += f"of its public key, as eFuses hold it, is {sha256(block.key_bytes)}"
    if context.signing_key is not None and _known_key(block) == context.signing_key:
        text += "; it is the signing key that was given"
    return of_item("signature-valid", item, text)


def _foreign(context: Context, blocks: Sequence[Item]) -> Iterator[Finding]:
    """Firmware is content with one block of a key that it trusts: only then no other matters."""
    given = context.signing_key
    if given is None:
        return
    used = [(item, block) for item in blocks if (block := _readable(item)) is not None]
    keys = [key for _, block in used if (key := _known_key(block)) is not None]
    if not keys or given in keys:
        return
    for item, block in used:
        text = f"made with the {block.scheme.name} key of SHA-256 {sha256(block.key_bytes)}, "
        yield of_item("signature-foreign", item, text + "expected the signing key that was given")


def _readable(item: Item) -> SignatureBlock | None:
    try:
        return _read(item)
    except FormatError:
        return None


def _known_key(block: SignatureBlock) -> PublicKeyTypes | None:
    try:
        return _public_key(block.part)
    except _UnsupportedCurveError:
        return None


# --- What a block proves -----------------------------------------------------------------------


def _fault(contents: Contents, item: Item, block: SignatureBlock, end: int) -> Iterator[Finding]:
    """What is wrong with key, digest or signature; nothing where they are right."""
    part, wanted = block.part, _stretch(Span(0, end))
    if isinstance(part, RsaPart) and not _peripheral_numbers_fit(part):
        text = "the numbers rinv and m' in the block do not fit its modulus, which the chip needs"
        yield of_item("signature-invalid", item, text)
        return
    actual = _digest(block, contents.data[:end])
    stored = part.digest if isinstance(part, RsaPart) else actual
    if _verifies(block, actual):
        if stored != actual:
            text = f"SHA-256 {_short(stored)} in the block, expected {_short(actual)} of {wanted}"
            yield of_item("signature-digest", item, text + ", over which it was made")
        return
    made_over = _made_over(block, contents, _likely(block, item))
    if made_over is not None:
        text = f"made over {_stretch(made_over)}, expected {wanted}"
        yield of_item("signature-digest", item, text)
    elif stored != actual and _verifies(block, stored):
        text = f"made over bytes of SHA-256 {_short(stored)}, expected {_short(actual)} of {wanted}"
        yield of_item("signature-digest", item, text)
    else:
        text = f"the {block.scheme.name} signature does not verify over {wanted}"
        yield of_item("signature-invalid", item, text)


def _stretch(span: Span) -> str:
    return f"the {span.length} bytes from {span.offset:#x} to {span.offset + span.length:#x}"


def _likely(block: SignatureBlock, item: Item) -> list[Span]:
    """Bytes that a block may have been made over by mistake: as it says, or all before it."""
    return [Span(block.signed_offset, block.signed_length), Span(0, _entry(item))]


def _made_over(block: SignatureBlock, contents: Contents, spans: Iterable[Span]) -> Span | None:
    """The first of these stretches over which the signature verifies."""
    for span in spans:
        stop = span.offset + span.length
        if span.length > 0 and stop <= len(contents.data):
            stretch = contents.data[span.offset : stop]
            if _verifies(block, _digest(block, stretch)):
                return span
    return None


def _digest(block: SignatureBlock, data: bytes) -> bytes:
    import hashlib

    return hashlib.new(block.scheme.digest, data).digest()


def _peripheral_numbers_fit(part: RsaPart) -> bool:
    """Whether rinv = R^2 mod n and m' = -1/n mod 2^32, for R = 2^3072.

    The boot ROM computes with them, and eFuses hold a digest over them. Source: espsecure,
    _get_sbv2_rsa_primitives.
    """
    if part.n % 2 == 0:
        return False
    square = 1 << 2 * signature_block.RSA_BITS
    inverse = -pow(part.n, -1, 1 << 32) % (1 << 32)
    return part.rinv == square % part.n and part.m_prime == inverse


class _UnsupportedCurveError(Exception):
    """The cryptography library at hand does not know the curve."""


def _public_key(part: RsaPart | EcdsaPart) -> RSAPublicKey | EllipticCurvePublicKey | None:
    """The key as an object, None where the numbers make none.

    Raises _UnsupportedCurveError for a curve that the library lacks: some builds have no P-192.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        if isinstance(part, RsaPart):
            return rsa.RSAPublicNumbers(part.e, part.n).public_key()
        curve = getattr(ec, part.curve.upper())()
        return ec.EllipticCurvePublicNumbers(part.x, part.y, curve).public_key()
    except (UnsupportedAlgorithm, AttributeError) as error:
        raise _UnsupportedCurveError from error
    except ValueError:
        return None


def _verifies(block: SignatureBlock, digest: bytes) -> bool:
    """Whether the signature is that of the digest. Source: espsecure, verify_signature_v2."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    part, key = block.part, _public_key(block.part)
    used = SHA384() if block.scheme.digest == "sha384" else SHA256()
    try:
        if isinstance(part, RsaPart) and isinstance(key, rsa.RSAPublicKey):
            padding = PSS(MGF1(used), PSS_SALT_LENGTH)
            key.verify(part.signature, digest, padding, Prehashed(used))
            return True
        if isinstance(part, EcdsaPart) and isinstance(key, ec.EllipticCurvePublicKey):
            made = encode_dss_signature(part.r, part.s)
            key.verify(made, digest, ec.ECDSA(Prehashed(used)))
            return True
    except (InvalidSignature, ValueError):
        pass
    return False
