"""RSA keys for the DS peripheral: what the bytes show, and with the HMAC key, what they hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from espcert import hmac_peripheral, keypairs
from espcert.checks.context import Context
from espcert.chips import DS_RSA_BITS, MAX_EFUSE_KEY_ID, Chip
from espcert.findings import Finding, item_name
from espcert_formats import ds_block
from espcert_formats import items as kinds
from espcert_formats.ds_block import DsBlock
from espcert_formats.items import Item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

Group = dict[str, Item]
"""The DS material of one index, by kind."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on the DS material of each index."""
    material = [item for item in context.contents.items if item.kind in kinds.DS_MATERIAL]
    for index in sorted({item.index for item in material}):
        group = {item.kind: item for item in reversed(material) if item.index == index}
        missing = list(missing_parts(group))
        for what in missing:
            name = item_name(kinds.DS_CIPHERTEXT, index)
            yield Finding("ds-incomplete", f"{name}: {what}", name)
        if not missing:
            yield from _group(group, context)


def _group(group: Group, context: Context) -> Iterator[Finding]:
    public = context.device_key(group[kinds.DS_CONTEXT].index)
    size_problem = _size_problem(group, public)
    yield from _key_id(group[kinds.DS_CONTEXT], context.chip)
    if size_problem is not None:
        yield _key_size(group[kinds.DS_CONTEXT], size_problem)
    yield from _chip(group[kinds.DS_CIPHERTEXT], context.chip)
    if not any(item.intact is False for item in group.values()):
        yield from _proof(group, context, public, size_is_right=size_problem is None)


def missing_parts(group: Group) -> Iterator[str]:
    """What is missing for a whole DS key, in words; nothing where it is whole."""
    for kind in (kinds.DS_CIPHERTEXT, kinds.DS_IV, kinds.DS_CONTEXT):
        item = group.get(kind)
        if item is None:
            yield f"there is no {kind}"
        elif item.intact is not False:
            yield from _malformed(item)


def _malformed(item: Item) -> Iterator[str]:
    if item.kind == kinds.DS_CIPHERTEXT and len(item.data) not in kinds.DS_MAX_BITS:
        yield f"ds_ciphertext has {len(item.data)} bytes, expected 1200 or 1584"
    elif item.kind == kinds.DS_IV and len(item.data) != kinds.DS_IV_LENGTH:
        yield f"ds_iv has {len(item.data)} bytes, expected {kinds.DS_IV_LENGTH}"
    elif item.kind == kinds.DS_CONTEXT and None in (item.rsa_bits, item.efuse_key_id):
        yield "ds_context lacks the key size or the eFuse key id"
    elif item.kind == kinds.DS_CONTEXT and (not item.rsa_bits or item.rsa_bits % 32):
        yield f"ds_context names an RSA key of {item.rsa_bits} bits, which none has"


def _key_id(context: Item, chip: Chip | None) -> Iterator[Finding]:
    most = chip.key_blocks - 1 if chip and chip.ds_max_bits else MAX_EFUSE_KEY_ID
    if context.efuse_key_id is not None and context.efuse_key_id > most:
        name = item_name(kinds.DS_CONTEXT, context.index)
        message = f"{name}: eFuse key id {context.efuse_key_id}, expected 0 to {most}"
        yield Finding("ds-key-id", message, name, context.offset)


def _key_size(context: Item, problem: str) -> Finding:
    name = item_name(kinds.DS_CONTEXT, context.index)
    return Finding("ds-key-size", f"{name}: {problem}", name, context.offset)


def _size_problem(group: Group, public: PublicKeyTypes | None) -> str | None:
    ciphertext = group[kinds.DS_CIPHERTEXT]
    bits = group[kinds.DS_CONTEXT].rsa_bits or 0
    most = kinds.DS_MAX_BITS.get(len(ciphertext.data), max(DS_RSA_BITS))
    if bits not in DS_RSA_BITS or bits > most:
        return (
            f"an RSA key of {bits} bits, which a ciphertext of {len(ciphertext.data)} cannot hold"
        )
    if ciphertext.rsa_length is not None and ciphertext.rsa_length != bits // 32 - 1:
        return f"an RSA key of {bits} bits, while DS_DATA says {(ciphertext.rsa_length + 1) * 32}"
    certified = _certified_bits(public)
    if certified is not None and certified != bits:
        shown = f"RSA {certified}" if certified else "no RSA key"
        return f"an RSA key of {bits} bits, while the device certificate has {shown}"
    return None


def _certified_bits(public: PublicKeyTypes | None) -> int | None:
    """Bits of the device certificate's RSA key, 0 for another kind of key, None for no telling."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if public is None:
        return None
    return public.key_size if isinstance(public, RSAPublicKey) else 0


def _chip(ciphertext: Item, chip: Chip | None) -> Iterator[Finding]:
    wanted = chip.ds_ciphertext_length if chip else len(ciphertext.data)
    if chip is not None and wanted != len(ciphertext.data):
        name = item_name(kinds.DS_CIPHERTEXT, ciphertext.index)
        expected = (
            f"{wanted} for {chip.name}" if wanted else f"none: {chip.name} has no DS peripheral"
        )
        yield Finding(
            "ds-chip",
            f"{name}: {len(ciphertext.data)} bytes of ciphertext, expected {expected}",
            name,
            ciphertext.offset,
        )


# --- With the HMAC key -------------------------------------------------------------------------

_USUAL_EXPONENTS: Final = (65537, 3, 17)
"""Public exponents to try where no certificate names one; the first is everybody's."""

_PRIVATE_EXPONENT: Final = "the private exponent"
_MODULUS: Final = "the modulus"
_RB: Final = "Rb"
_M_PRIME: Final = "M'"
_L: Final = "L"
_PADDING: Final = "the padding"


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decrypted DS key, and what it is to be compared with.

    `public` is the key of the device certificate, `bits` the size that the context names,
    `where` says in words which HMAC key was taken.
    """

    ciphertext: Item
    iv: bytes = field(repr=False)
    block: DsBlock = field(repr=False)
    public: PublicKeyTypes | None
    bits: int
    where: str

    @property
    def name(self) -> str:
        """The name of the ciphertext, of which the findings speak."""
        return item_name(kinds.DS_CIPHERTEXT, self.ciphertext.index)

    @property
    def certified(self) -> tuple[int, int] | None:
        """Modulus and public exponent of the device certificate, where it has an RSA key."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

        if not isinstance(self.public, RSAPublicKey):
            return None
        numbers = self.public.public_numbers()
        return numbers.n, numbers.e

    def finding(self, code: str, message: str) -> Finding:
        """A finding on the ciphertext."""
        return Finding(code, f"{self.name}: {message}", self.name, self.ciphertext.offset)


def _proof(
    group: Group, context: Context, public: PublicKeyTypes | None, *, size_is_right: bool
) -> Iterator[Finding]:
    """What the key at hand shows, and what speaks against that key."""
    ciphertext, ds_context = group[kinds.DS_CIPHERTEXT], group[kinds.DS_CONTEXT]
    lookup = context.keys.for_ds(ds_context.efuse_key_id or 0)
    name = item_name(kinds.DS_CONTEXT, ds_context.index)
    for code, text in lookup.problems:
        yield Finding(code, f"{name}: {text}", name, ds_context.offset)
    if lookup.key is None:
        name = item_name(kinds.DS_CIPHERTEXT, ciphertext.index)
        message = f"{name}: encrypted under the key of BLOCK_KEY{ds_context.efuse_key_id}, which"
        yield Finding("ds-not-proven", f"{message} is not at hand", name, ciphertext.offset)
        return
    iv = group[kinds.DS_IV].data
    block = ds_block.read(hmac_peripheral.open_ds(lookup.key, iv, ciphertext.data))
    where = lookup.where or "the HMAC key"
    opened = _Opened(ciphertext, iv, block, public, ds_context.rsa_bits or 0, where)
    if block.digest != ds_block.expected_digest(block, iv):
        yield from _without_digest(opened)
        return
    if size_is_right and block.modulus.bit_length() != ds_context.rsa_bits:
        yield _key_size(
            ds_context,
            f"an RSA key of {ds_context.rsa_bits} bits, while the ciphertext holds one of "
            f"{block.modulus.bit_length()}",
        )
    yield from _with_digest(opened)


# --- The digest is right: all bytes are as they were made ---------------------------------------


def _with_digest(opened: _Opened) -> Iterator[Finding]:
    wrong = list(_wrong_parameters(opened.block))
    if wrong:
        yield opened.finding(
            "ds-parameters",
            f"the digest is right, but {_listed(wrong)} {_are(wrong)} not as the modulus and the "
            "peripheral need it",
        )
    if opened.public is not None and not _has_modulus(opened, opened.block.modulus):
        yield _foreign(opened)
        return
    exponents = (opened.certified[1],) if opened.certified else _USUAL_EXPONENTS
    exponent = _fitting_exponent(opened.block, opened.block.modulus, exponents)
    if exponent is None:
        yield opened.finding("ds-inconsistent", _inconsistent(opened))
    elif not wrong:
        yield opened.finding("ds-proven", _proven(opened, exponent))


def _wrong_parameters(block: DsBlock) -> Iterator[str]:
    """What of a whole block does not belong to its modulus, by name."""
    if block.private_exponent >= block.modulus:
        yield "the private exponent (as large as the modulus, or larger)"
    yield from (name for name, right in _constants(block, block.modulus).items() if not right)
    if block.beta != ds_block.BETA:
        yield _PADDING


def _constants(block: DsBlock, modulus: int) -> dict[str, bool]:
    """The constants of the Montgomery multiplication, and whether they fit a modulus."""
    return {
        _RB: block.r_squared == ds_block.expected_r_squared(modulus),
        _M_PRIME: block.m_prime == ds_block.expected_m_prime(modulus),
        _L: block.length == ds_block.expected_length(modulus),
    }


def _has_modulus(opened: _Opened, modulus: int) -> bool:
    """Whether the device certificate has this modulus."""
    return opened.certified is not None and opened.certified[0] == modulus


def _foreign(opened: _Opened) -> Finding:
    held = f"an RSA key of {opened.block.modulus.bit_length()} bits"
    bits = _certified_bits(opened.public)
    expected = f"that of the device certificate (RSA {bits})" if bits else "no RSA key at all"
    return opened.finding("ds-foreign", f"holds {held} that is another one, expected {expected}")


_CHALLENGE: Final = 2


def _fitting_exponent(block: DsBlock, modulus: int, exponents: Sequence[int]) -> int | None:
    """The public exponent with which what the private one signs verifies, or None: one round.

    OpenSSL makes the round where the primes can be had, in a twentieth of the time that plain
    powers take (21 ms for 2048 bits, 133 ms for 4096). Modulus and private exponent have 4096 bits
    at most, so hostile ones cost no more.
    """
    if modulus <= _CHALLENGE:
        return None
    private = block.private_exponent
    for exponent in exponents:
        primes = _primes(modulus, exponent, private)
        if primes is not None and _round(modulus, exponent, private, primes):
            return exponent
    signed = pow(_CHALLENGE, private, modulus)
    return next((e for e in exponents if pow(signed, e, modulus) == _CHALLENGE), None)


_COMMON_DIVISORS: Final = (1, *range(2, 65, 2))
"""Of p - 1 and q - 1: 1 for an exponent made with (p - 1)(q - 1), else 2 in most keys."""


def _primes(n: int, e: int, d: int) -> tuple[int, int] | None:
    """The primes of a key, or None where they are not found at once.

    e d - 1 is a multiple of lcm(p - 1, q - 1). For a small e the factor is known from the size
    alone, as (p - 1)(q - 1) is n but for its lower half; p + q follows, and both from that.
    The library's own rsa_recover_prime_factors must not know as much, and takes 142 ms.
    """
    if e * d <= 1:
        return None
    for divisor in _COMMON_DIVISORS:
        multiple = divisor * (e * d - 1)
        totient, rest = divmod(multiple, multiple // n + 1)
        if rest:
            continue
        total = n + 1 - totient
        square = total * total - 4 * n
        root = math.isqrt(square) if square > 0 else 0
        p, q = (total + root) // 2, (total - root) // 2
        if p * q == n and p > q > 1:
            return p, q
    return None


def _round(n: int, e: int, d: int, primes: tuple[int, int]) -> bool:
    """Whether a signature that OpenSSL makes with these numbers verifies."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    p, q = primes
    public = rsa.RSAPublicNumbers(e, n)
    try:
        numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
        private = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    except ValueError:
        return False
    return keypairs.signs_for(private, private.public_key())


def _inconsistent(opened: _Opened) -> str:
    message = "what its private exponent signs does not verify with its modulus"
    if opened.certified:
        return f"{message} and the public exponent of the device certificate"
    tried = ", ".join(map(str, _USUAL_EXPONENTS))
    return f"{message} and the usual exponents {tried}; no device certificate names another"


def _proven(opened: _Opened, exponent: int) -> str:
    opens = f"opens with {opened.where}"
    if opened.certified:
        return f"{opens} and holds the key of the device certificate; a signature verifies"
    return (
        f"{opens} and holds a sound RSA key of {opened.block.modulus.bit_length()} bits (public "
        f"exponent {exponent}); there is no readable device certificate to compare with"
    )


# --- The digest is wrong: another key, or damage ------------------------------------------------


def _without_digest(opened: _Opened) -> Iterator[Finding]:
    """AES-CBC spreads damage over one block and one bit of the next, a wrong key over all."""
    modulus = _known_modulus(opened)
    if modulus is None and not _shows_right_key(opened):
        yield opened.finding(
            "ds-wrong-key",
            f"nothing is right of what {opened.where} decrypts: neither the modulus, Rb, M', L, "
            "the padding nor the digest",
        )
        return
    if modulus is None:
        modulus = _proven_modulus(opened.block)
    yield opened.finding("ds-damaged", f"the digest does not match; {_damage(opened, modulus)}")
    if opened.public is not None and modulus is not None and not _has_modulus(opened, modulus):
        yield _foreign(opened)


def _known_modulus(opened: _Opened) -> int | None:
    """The modulus that the block was made for: its own where Rb confirms it, or the certificate's.

    Each of the signs of the certificate's modulus has a chance of 2^-32 at most.
    """
    block = opened.block
    if block.modulus and block.r_squared == ds_block.expected_r_squared(block.modulus):
        return block.modulus
    if opened.certified is None or opened.certified[0].bit_length() > block.max_bits:
        return None
    modulus = opened.certified[0]
    constants = _constants(block, modulus)
    shows = constants[_RB] or constants[_M_PRIME] or _resembles(block, modulus)
    return modulus if shows else None


def _proven_modulus(block: DsBlock) -> int | None:
    """The block's own modulus, where signatures made with the private exponent verify."""
    exponent = _fitting_exponent(block, block.modulus, _USUAL_EXPONENTS)
    return None if exponent is None else block.modulus


_BLOCK: Final = 16


def _resembles(block: DsBlock, modulus: int) -> bool:
    """Whether any whole AES block of the modulus's own bytes is that of another modulus."""
    size = block.max_bits // 8
    one, other = (number.to_bytes(size, "little") for number in (block.modulus, modulus))
    used = modulus.bit_length() // 8
    return any(
        one[at : at + _BLOCK] == other[at : at + _BLOCK]
        for at in range(0, used - _BLOCK + 1, _BLOCK)
    )


def _shows_right_key(opened: _Opened) -> bool:
    """Whether anything else is as only the right key makes it, by a chance of 2^-32 at most."""
    block = opened.block
    constants = _constants(block, block.modulus)
    return (
        block.beta == ds_block.BETA
        or constants[_M_PRIME]
        or constants[_L]
        or block.length == opened.bits // 32 - 1
        or _has_zero_ends(block, opened.bits)
    )


def _has_zero_ends(block: DsBlock, bits: int) -> bool:
    """Whether a number is as short as the key, where that is shorter than its place."""
    numbers = (block.private_exponent, block.modulus, block.r_squared)
    return bits < block.max_bits and any(number.bit_length() <= bits for number in numbers)


def _damage(opened: _Opened, modulus: int | None) -> str:
    """What is right and what is not, as far as the modulus is known."""
    if modulus is None:
        return "the HMAC key is right, but modulus and Rb do not belong together"
    parts = _parts(opened, modulus)
    right = [name for name, is_right in parts.items() if is_right]
    wrong = [name for name, is_right in parts.items() if not is_right]
    shown = f"{_listed(right)} {_are(right)} right" if right else "nothing else is right"
    if wrong == [_PRIVATE_EXPONENT]:
        return f"{shown}: the damage lies in the private exponent or the IV"
    if wrong:
        return f"{shown}, {_listed(wrong)} {_are(wrong)} not"
    return f"{shown}: the damage lies in the digest itself"


def _parts(opened: _Opened, modulus: int) -> dict[str, bool]:
    """Each part but the digest, and whether it is right for a modulus."""
    block, certified = opened.block, opened.certified
    known = certified is not None and certified[0] == modulus
    exponents = (certified[1],) if certified and known else _USUAL_EXPONENTS
    return {
        _PRIVATE_EXPONENT: _fitting_exponent(block, modulus, exponents) is not None,
        _MODULUS: block.modulus == modulus,
        **_constants(block, modulus),
        _PADDING: block.beta == ds_block.BETA,
    }


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
