"""`espcert.signers`: which keys sign partitions, and what is said of all others."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.support import FIXTURES

from espcert import keypairs, signers
from espcert.errors import UsageError

P256 = (FIXTURES / "inputs" / "sign_p256.key").read_bytes()
PASSWORD = b"correct horse"


def key_file(
    key: PrivateKeyTypes,
    encoding: Encoding = Encoding.PEM,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(encoding, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_file(key: Any, encoding: Encoding = Encoding.PEM) -> bytes:
    made: bytes = key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    return made


def refusal(data: bytes, password: bytes | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        signers.from_key(data, name="the file", password=password)
    assert caught.value.message.startswith("the file: ")
    return caught.value.message


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_pem_and_der(encoding: Encoding) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    signer = signers.from_key(key_file(key, encoding))
    assert signer.public == key.public_key()
    assert signer.scheme.name == "ECDSA P-384"
    public, scheme = signers.public_key_of(public_file(key.public_key(), encoding))
    assert (public, scheme) == (signer.public, signer.scheme)


def test_key_under_a_password() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key_file(key, encryption=BestAvailableEncryption(PASSWORD))
    assert signers.from_key(locked, password=PASSWORD).public == key.public_key()
    assert "--key-password-file" in refusal(locked)
    assert "does not open it" in refusal(locked, b"wrong")
    assert "its public key is enough" in _public_refusal(locked)


def test_a_password_that_is_not_needed() -> None:
    assert signers.from_key(P256, password=PASSWORD).scheme.name == "ECDSA P-256"


def _public_refusal(data: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        signers.public_key_of(data, name="the file")
    return caught.value.message


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (lambda: ec.generate_private_key(ec.SECP521R1()), "ECDSA P-521"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "ECDSA secp256k1"),
        (lambda: rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
    ],
)
def test_keys_that_sign_no_partitions(key: Any, name: str) -> None:
    made = key()
    wanted = f"{name}, expected RSA with 3072 bits, or ECDSA on P-192, P-256 or P-384"
    assert wanted in refusal(key_file(made))
    assert wanted in _public_refusal(public_file(made.public_key()))


def test_a_public_key_does_not_sign() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert "a public key, expected the private one" in refusal(public_file(key.public_key()))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"-----BEGIN EC PRIVATE KEY-----", P256[:100], b"\x30\x80", b"\xff" * 4096]
)
def test_what_is_no_key(data: bytes) -> None:
    assert "no private key" in refusal(data)
    assert "no public key" in _public_refusal(data)


@pytest.mark.parametrize(("n", "e"), [((1 << 3071) + 2, 65537), ((1 << 3071) + 1, (1 << 33) + 1)])
def test_rsa_numbers_that_a_block_cannot_hold(n: int, e: int) -> None:
    key = rsa.RSAPublicNumbers(e, n).public_key()
    assert "a signature block cannot hold" in _public_refusal(public_file(key))


def test_a_damaged_rsa_key() -> None:
    good = rsa.generate_private_key(65537, 3072).private_numbers()
    bad = rsa.RSAPrivateNumbers(
        p=good.p, q=good.q, d=good.d, dmp1=good.dmp1 + 2, dmq1=good.dmq1, iqmp=good.iqmp,
        public_numbers=good.public_numbers,
    )  # fmt: skip
    key = bad.private_key(unsafe_skip_rsa_key_validation=True)
    assert "damaged" in refusal(key_file(key))


def test_a_library_without_p192(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise UnsupportedAlgorithm("no such curve")

    monkeypatch.setattr(ec, "derive_private_key", unsupported)
    monkeypatch.setattr(keypairs, "load_private_key", lambda *_: None)
    monkeypatch.setattr(keypairs, "load_public_key", lambda *_: None)
    assert refusal(P256).endswith("the cryptography library here does not support P-192")
    assert _public_refusal(P256).endswith("the cryptography library here does not support P-192")


@pytest.mark.parametrize("error", [TypeError, UnsupportedAlgorithm])
def test_a_library_that_signs_with_chance_only(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """cryptography 42 does not know the argument, an older OpenSSL cannot do it."""
    usual = ec.ECDSA

    def older(algorithm: Prehashed, **options: bool) -> ec.ECDSA:
        if options:
            raise error("deterministic_signing")
        return usual(algorithm)

    monkeypatch.setattr(ec, "ECDSA", older)
    digest = bytes(range(32))
    block = signers.from_key(P256).block(digest, 0x550)
    assert len(block) == 145
    assert block != signers.from_key(P256).block(digest, 0x550)


def test_scheme_names() -> None:
    names = {name: signers.scheme_named(name).name for name in signers.SCHEME_NAMES}
    assert names == {
        "rsa3072": "RSA 3072",
        "ecdsa192": "ECDSA P-192",
        "ecdsa256": "ECDSA P-256",
        "ecdsa384": "ECDSA P-384",
    }
    with pytest.raises(UsageError, match="rsa3072, ecdsa192"):
        signers.scheme_named("rsa4096")
