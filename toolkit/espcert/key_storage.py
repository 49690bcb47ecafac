"""The ways in which a partition can hold a private key, and what each of them writes and burns.

HMAC-encrypted keys are not among them: no release of esp_secure_cert_mgr both writes and reads
them (2.7.0 to 2.9.3 fail to read what 2.9.0 and later write).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from espcert import encoding, hmac_peripheral, keypairs, official_form
from espcert.burning import DS_PURPOSE, HMAC_UP, UNNAMED, Burn, KeyFile, ecdsa_burn, hmac_burn
from espcert.chips import CHIPS, DS_RSA_BITS, Chip
from espcert.errors import RefusedError, UsageError
from espcert.findings import item_name
from espcert.keys import HMAC_KEY_LENGTH
from espcert_formats import ds_block, tlv
from espcert_formats import items as kinds
from espcert_formats.errors import FormatError
from espcert_formats.tlv import NewEntry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    SigningKey = RSAPrivateKey | EllipticCurvePrivateKey

SALT_LENGTH: Final = 32
"""As esp_secure_cert_mgr 2.9.3 makes them. Source: esp_secure_cert_derive_hmac_ecdsa_key."""


class Placed(NamedTuple):
    """What a key writes and burns.

    `front` are entries that the official tool writes before all others, `own` those at the key's
    place among the others. `public` is the key's public half.
    """

    front: tuple[NewEntry, ...]
    own: tuple[NewEntry, ...]
    burns: tuple[Burn, ...]
    public: PublicKeyTypes


@dataclass(frozen=True, slots=True)
class PlainKey:
    """A private key (PEM or DER, RSA or ECDSA) in plain text; `password` opens the one given."""

    data: bytes = field(repr=False)
    password: bytes | None = field(default=None, repr=False)
    index: int = 0

    def place(self, chip: Chip | None) -> Placed:  # noqa: ARG002 - every chip reads it
        """PRIV_KEY alone. Raises UsageError for what is no key."""
        private = _loaded(self.data, self.password, self.index)
        pem = encoding.encoding_of(self.data) == encoding.PEM
        data = official_form.key_form(private, pem=pem)
        entry = NewEntry(tlv.TYPE_PRIVATE_KEY, self.index, 0, data)
        return Placed((), (entry,), (), private.public_key())


@dataclass(frozen=True, slots=True)
class DsKey:
    """An RSA key encrypted for the DS peripheral, under the HMAC key of an eFuse block.

    `iv` are 16 bytes, None for random ones; `hmac_file` is how commands name the HMAC key's file.
    """

    data: bytes = field(repr=False)
    hmac_key: bytes = field(repr=False)
    efuse_key_id: int
    password: bytes | None = field(default=None, repr=False)
    index: int = 0
    iv: bytes | None = field(default=None, repr=False)
    hmac_file: KeyFile = UNNAMED

    def place(self, chip: Chip | None) -> Placed:
        """DS_DATA and DS_CONTEXT. Raises RefusedError for a key that the chip cannot use."""
        chip = _require(chip, "an RSA key for the DS peripheral")
        if not chip.ds_max_bits:
            raise RefusedError("ds-chip", f"{chip.name} has no DS peripheral{_others(_DS_CHIPS)}")
        _check_hmac_key(self.hmac_key)
        private = _for_ds(_loaded(self.data, self.password, self.index), self.index, chip)
        burn = hmac_burn(chip, self.hmac_key, self.efuse_key_id, DS_PURPOSE, self.hmac_file)
        context = kinds.ds_context_data(private.key_size, self.efuse_key_id)
        front = (
            NewEntry(tlv.TYPE_DS_DATA, self.index, 0, self._data(private, chip.ds_max_bits)),
            NewEntry(tlv.TYPE_DS_CONTEXT, self.index, 0, context),
        )
        return Placed(front, (), (burn,), private.public_key())

    def _data(self, private: RSAPrivateKey, max_bits: int) -> bytes:
        """Key size, IV and ciphertext. Source: ESP-IDF 102122904ad, esp_ds.h, esp_ds_data_t."""
        iv = os.urandom(kinds.DS_IV_LENGTH) if self.iv is None else self.iv
        numbers = private.private_numbers()
        try:
            parameters = ds_block.write(numbers.public_numbers.n, numbers.d, iv, max_bits)
        except FormatError as error:
            name = item_name(kinds.PRIVATE_KEY, self.index)
            raise RefusedError("key-inconsistent", f"{name}: {error}") from error
        ciphertext = hmac_peripheral.seal_ds(self.hmac_key, iv, parameters)
        return struct.pack("<I", private.key_size // 32 - 1) + iv + ciphertext


@dataclass(frozen=True, slots=True)
class EcdsaKey:
    """A key that only the ECDSA peripheral has, in an eFuse block: it is stored nowhere.

    `file` is how commands name the key's file, which espefuse takes as PEM without a password.
    """

    data: bytes = field(repr=False)
    efuse_key_id: int
    password: bytes | None = field(default=None, repr=False)
    index: int = 0
    file: KeyFile = UNNAMED

    def place(self, chip: Chip | None) -> Placed:
        """SEC_CFG and an empty PRIV_KEY. Raises RefusedError for a key that the chip cannot use."""
        chip = _require(chip, "a key for the ECDSA peripheral")
        if not chip.ecdsa_curves:
            others = _others(_ECDSA_CHIPS)
            raise RefusedError("ecdsa-chip", f"{chip.name} has no ECDSA peripheral{others}")
        private = _for_ecdsa(_loaded(self.data, self.password, self.index), self.index, chip)
        burn = ecdsa_burn(chip, private, self.efuse_key_id, self.file)
        config = NewEntry(tlv.TYPE_SECURITY_CONFIG, self.index, 0, _security_config(burn, chip))
        entry = NewEntry(tlv.TYPE_PRIVATE_KEY, self.index, kinds.ECDSA_PERIPHERAL_FLAG, b"")
        return Placed((config,), (entry,), (burn,), private.public_key())


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A P-256 key that the module derives from the HMAC key of an eFuse block and a salt.

    `salt` is None for 32 random bytes; `hmac_file` is how commands name the HMAC key's file.
    """

    hmac_key: bytes = field(repr=False)
    efuse_key_id: int
    salt: bytes | None = field(default=None, repr=False)
    index: int = 0
    hmac_file: KeyFile = UNNAMED

    def place(self, chip: Chip | None) -> Placed:
        """An empty PRIV_KEY and its salt. Raises RefusedError where they derive no key."""
        chip = _require(chip, "a key derived by HMAC")
        _check_hmac_key(self.hmac_key)
        if not chip.hmac:
            raise RefusedError("hmac-chip", f"{chip.name} has no HMAC peripheral")
        burn = hmac_burn(chip, self.hmac_key, self.efuse_key_id, HMAC_UP, self.hmac_file)
        salt = os.urandom(SALT_LENGTH) if self.salt is None else self.salt
        if not salt:
            raise UsageError("bad-salt", "--salt: an empty file, expected bytes (32 are usual)")
        private = hmac_peripheral.derive_ecdsa(self.hmac_key, salt)
        if private is None:
            text = "what HMAC key and salt give is no P-256 private key"
            raise RefusedError("derived-out-of-range", f"{text}: take another salt or HMAC key")
        own = (
            NewEntry(tlv.TYPE_PRIVATE_KEY, self.index, kinds.HMAC_DERIVED_FLAG, b""),
            NewEntry(tlv.TYPE_SALT, self.index, 0, salt),
        )
        return Placed((), own, (burn,), private.public_key())


Key = PlainKey | DsKey | EcdsaKey | DerivedKey


def _loaded(data: bytes, password: bytes | None, index: int) -> SigningKey:
    """The key of a file. Raises UsageError for what is none, RefusedError for other kinds."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    name = item_name(kinds.PRIVATE_KEY, index)
    locked = keypairs.is_encrypted(data)
    if locked and password is None:
        text = f"{name}: under a password; --key-password-file FILE opens it"
        raise UsageError("no-password", text)
    private = keypairs.load_private_key(data, password if locked else None)
    if private is None and locked:
        text = "the password that was given does not open it, or its encryption is not known"
        raise UsageError("wrong-password", f"{name}: {text}")
    if private is None:
        text = f"{name}: {len(data)} bytes, expected a private key in PEM or DER that is whole"
        raise UsageError("bad-key", text)
    kinds_of_keys = rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey
    if isinstance(private, kinds_of_keys) and keypairs.can_sign(private):
        return private
    text = f"{name}: {keypairs.key_name(private)}, expected ECDSA, or RSA of at most"
    raise RefusedError("key-unreadable", f"{text} {keypairs.MAX_RSA_BITS} bits")


def _for_ds(private: SigningKey, index: int, chip: Chip) -> RSAPrivateKey:
    """The key, where the DS peripheral takes it."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    sizes = [size for size in DS_RSA_BITS if size <= chip.ds_max_bits]
    if isinstance(private, RSAPrivateKey) and private.key_size in sizes:
        return private
    found = f"{item_name(kinds.PRIVATE_KEY, index)}: {keypairs.key_name(private)}"
    expected = f"expected RSA of {', '.join(map(str, sizes))} bits"
    text = f"{found}, {expected}: the DS peripheral of {chip.name} takes no other"
    raise RefusedError("ds-key-size", text)


def _for_ecdsa(private: SigningKey, index: int, chip: Chip) -> EllipticCurvePrivateKey:
    """The key, where the ECDSA peripheral takes it."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    if isinstance(private, EllipticCurvePrivateKey) and private.curve.name in chip.ecdsa_curves:
        return private
    found = f"{item_name(kinds.PRIVATE_KEY, index)}: {keypairs.key_name(private)}"
    expected = f"expected ECDSA on {', '.join(map(keypairs.curve_name, chip.ecdsa_curves))}"
    text = f"{found}, {expected}: the ECDSA peripheral of {chip.name} takes no other"
    raise RefusedError("ecdsa-curve", text)


def _require(chip: Chip | None, what: str) -> Chip:
    if chip is None:
        raise UsageError("no-chip", f"--chip NAME is missing: {what} depends on the chip")
    return chip


def _check_hmac_key(key: bytes) -> None:
    if len(key) != HMAC_KEY_LENGTH or not any(key):
        found = f"{len(key)} bytes" if len(key) != HMAC_KEY_LENGTH else "only zeros"
        raise UsageError("bad-hmac-key", f"an HMAC key of {found}, expected {HMAC_KEY_LENGTH}")


_DS_CHIPS: Final = tuple(chip.name for chip in CHIPS.values() if chip.ds_max_bits)
_ECDSA_CHIPS: Final = tuple(chip.name for chip in CHIPS.values() if chip.ecdsa_curves)


def _others(names: Sequence[str]) -> str:
    return f"; these have one: {', '.join(names)}"


_SECURITY_CONFIG_REST: Final = bytes(tlv.SECURITY_CONFIG_LENGTH - 1)


def _security_config(burn: Burn, chip: Chip) -> bytes:
    """The eFuse block's number; of two, the high one in bits 7..4 and the low one in 3..0.

    Source: ESP-IDF 102122904ad, ecdsa_types.h, HAL_ECDSA_COMBINE_KEY_BLOCKS.
    """
    numbers = [chip.first_key_block + block.number for block in burn.blocks]
    named = numbers[0] if len(numbers) == 1 else numbers[0] << 4 | numbers[1]
    return bytes((named,)) + _SECURITY_CONFIG_REST
