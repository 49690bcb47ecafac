"""What a partition is signed with: a private key, or a signature that was made elsewhere.

Schemes, hashes and paddings are those of secure boot v2. Source: esptool bb72741,
espsecure/__init__.py, sign_secure_boot_v2, verify_signature_v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from espcert import keypairs
from espcert.errors import RefusedError, UsageError
from espcert.quiet import or_none
from espcert_formats import signature_block
from espcert_formats.signature_block import SCHEMES, EcdsaPart, Scheme, SignatureBlock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.padding import PSS
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    PublicKey = RSAPublicKey | EllipticCurvePublicKey
    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

SCHEME_NAMES: Final = {"rsa3072": 0, "ecdsa192": 1, "ecdsa256": 2, "ecdsa384": 3}
"""The schemes by the names that configure_esp_secure_cert.py gives them."""

PSS_SALT_LENGTH: Final = 32
MAX_EXPONENT_BITS: Final = 32
"""Of the field of an RSA block for the public exponent."""

_WANTED: Final = "RSA with 3072 bits, or ECDSA on P-192, P-256 or P-384"


@dataclass(frozen=True, slots=True)
class Signer:
    """One who signs: `private` makes the signature, or `made` is what was made elsewhere.

    `name` says in messages which file it is of.
    """

    name: str
    scheme: Scheme
    public: PublicKey
    private: PrivateKey | None = field(default=None, repr=False)
    made: bytes = field(default=b"", repr=False)

    def block(self, digest: bytes, signed_length: int) -> bytes:
        """The data of the signature entry for the bytes of this digest.

        Raises RefusedError where the signature does not verify over it with the public key.
        """
        made = self.made if self.private is None else _sign(self.private, self.scheme, digest)
        for signature in (made,) if self.scheme.curve is None else _readings(made, self.scheme):
            if _verifies(self.public, self.scheme, signature, digest):
                return _encode(self.public, self.scheme, signature, digest, signed_length)
        whose = "with the public key given" if self.private is None else "with its own public key"
        raise RefusedError(
            "signature-invalid",
            f"{self.name}: the signature does not verify {whose} over the {self.scheme.digest} "
            f"{digest.hex()} of the {signed_length} bytes to sign, which --digest-out writes",
        )

    def is_of(self, block: SignatureBlock) -> bool:
        """Whether a block that was read holds the public key."""
        numbers, part = self.public.public_numbers(), block.part
        names = ("x", "y") if isinstance(part, EcdsaPart) else ("n", "e")
        held = [getattr(part, name) for name in names]
        return block.scheme == self.scheme and held == [getattr(numbers, one) for one in names]


def from_key(data: bytes, *, name: str = "key", password: bytes | None = None) -> Signer:
    """One who signs with a private key, the contents of a file (PEM or DER).

    Raises UsageError where they are no private key, or none that signs partitions.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    private = _private_key(data, name, password)
    if not isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise _not_wanted(private, name)
    public, scheme = _checked(private.public_key(), name)
    if not keypairs.signs_for(private, public):
        raise UsageError("bad-key", f"{name}: makes no signature that verifies: it is damaged")
    return Signer(name, scheme, public, private)


def from_signature(made: bytes, public_key: bytes, *, name: str = "signature") -> Signer:
    """One who has signed elsewhere: the signature, and the contents of a file with the public key.

    An RSA-PSS signature (SHA-256, a salt of 32 bytes) is 384 bytes big-endian, one of ECDSA DER,
    or r and s big-endian. Raises UsageError where the key is none that signs partitions.
    """
    public, scheme = public_key_of(public_key, name=f"the public key for {name}")
    return Signer(name, scheme, public, made=made)


def public_key_of(data: bytes, *, name: str = "public key") -> tuple[PublicKey, Scheme]:
    """A public key, from a file of one or of its private key, and the scheme that it signs by.

    Raises UsageError where it is none.
    """
    key = keypairs.load_public_key(data)
    if key is None:
        found = "a private key under a password; its public key is enough"
        text = found if keypairs.is_encrypted(data) else f"no public key (PEM or DER){_lacking()}"
        raise UsageError("bad-key", f"{name}: {text}")
    return _checked(key, name)


def scheme_named(name: str) -> Scheme:
    """The scheme of one of `SCHEME_NAMES`. Raises UsageError for other names."""
    if name not in SCHEME_NAMES:
        raise UsageError("bad-scheme", f"--scheme {name}: none of {', '.join(SCHEME_NAMES)}")
    return SCHEMES[SCHEME_NAMES[name]]


# --- Keys --------------------------------------------------------------------------------------


def _private_key(data: bytes, name: str, password: bytes | None) -> PrivateKeyTypes:
    """The key. Raises UsageError that says what the file is instead."""
    locked = keypairs.is_encrypted(data)
    if locked and password is None:
        raise UsageError("no-password", f"{name}: under a password; --key-password-file opens it")
    key = keypairs.load_private_key(data, password if locked else None)
    if key is not None:
        return key
    if locked:
        raise UsageError("bad-password", f"{name}: the password does not open it, or it is damaged")
    if keypairs.load_public_key(data) is not None:
        raise UsageError("bad-key", f"{name}: a public key, expected the private one")
    raise UsageError("bad-key", f"{name}: no private key (PEM or DER){_lacking()}")


def _lacking() -> str:
    """Words for a curve that the library at hand lacks, which may be why a key is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        ec.derive_private_key(1, ec.SECP192R1())
    except UnsupportedAlgorithm:
        return "; the cryptography library here does not support P-192"
    return ""


def _not_wanted(key: PrivateKeyTypes | PublicKeyTypes, name: str) -> UsageError:
    return UsageError("bad-key", f"{name}: {keypairs.key_name(key)}, expected {_WANTED}")


def _checked(key: PublicKeyTypes, name: str) -> tuple[PublicKey, Scheme]:
    """The key and its scheme. Raises UsageError for one that signs no partitions."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, ec.EllipticCurvePublicKey):
        for scheme in SCHEMES.values():
            if scheme.curve == key.curve.name:
                return key, scheme
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == signature_block.RSA_BITS:
        numbers = key.public_numbers()
        if numbers.n % 2 == 0 or numbers.e.bit_length() > MAX_EXPONENT_BITS:
            text = f"an even modulus, or a public exponent over {MAX_EXPONENT_BITS} bits"
            raise UsageError("bad-key", f"{name}: {text}, which a signature block cannot hold")
        return key, SCHEMES[SCHEME_NAMES["rsa3072"]]
    raise _not_wanted(key, name)


# --- Signatures --------------------------------------------------------------------------------


def _sign(key: PrivateKey, scheme: Scheme, digest: bytes) -> bytes:
    """RSA: big-endian. ECDSA: DER; the same on every run where OpenSSL can (RFC 6979)."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    hashed = _hashed(scheme)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, _padding(scheme), hashed)
    return key.sign(digest, _repeatable(hashed))


def _repeatable(hashed: Prehashed) -> ECDSA:
    """ECDSA without chance, which needs cryptography 43 and OpenSSL 3.2; else with chance."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        return ec.ECDSA(hashed, deterministic_signing=True)
    except (TypeError, UnsupportedAlgorithm):
        return ec.ECDSA(hashed)


def _hashed(scheme: Scheme) -> Prehashed:
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    return Prehashed(SHA384() if scheme.digest == "sha384" else SHA256())


def _padding(scheme: Scheme) -> PSS:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
    from cryptography.hazmat.primitives.hashes import SHA256

    assert scheme.digest == "sha256"
    return PSS(MGF1(SHA256()), PSS_SALT_LENGTH)


def _readings(made: bytes, scheme: Scheme) -> Iterator[bytes]:
    """An ECDSA signature as DER: as it is, and read as two numbers one behind the other.

    A raw one may look like DER by chance, so that the digest decides.
    """
    from cryptography.hazmat.primitives.asymmetric.utils import (
        decode_dss_signature,
        encode_dss_signature,
    )

    if or_none(lambda: decode_dss_signature(made)) is not None:
        yield made
    if len(made) == 2 * scheme.number_length:
        middle = scheme.number_length
        r, s = (int.from_bytes(half, "big") for half in (made[:middle], made[middle:]))
        yield encode_dss_signature(r, s)


def _verifies(key: PublicKey, scheme: Scheme, signature: bytes, digest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, _padding(scheme), _hashed(scheme))
        else:
            key.verify(signature, digest, ec.ECDSA(_hashed(scheme)))
    except (InvalidSignature, ValueError):
        return False
    return True


def _encode(
    key: PublicKey, scheme: Scheme, signature: bytes, digest: bytes, signed_length: int
) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return signature_block.encode_rsa(numbers.n, numbers.e, signature, digest, signed_length)
    point = key.public_numbers()
    part = EcdsaPart(scheme.curve or "", point.x, point.y, *decode_dss_signature(signature))
    return signature_block.encode_ecdsa(part, signed_length)
