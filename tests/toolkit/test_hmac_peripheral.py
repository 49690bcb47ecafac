"""`espcert.hmac_peripheral`, against vectors of other origin."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ds_vectors import VECTORS, Vector
from tests.support import FIXTURES

from espcert import certificates, hmac_peripheral, keypairs

KEY = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()
SALT = (FIXTURES / "inputs" / "derived_salt.bin").read_bytes()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Source: SEC 2, 2.4.2."""

# --- DS keys -----------------------------------------------------------------------------------

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.source)


@each_vector
def test_a_ds_key_of_esp_idf_opens(vector: Vector) -> None:
    opened = hmac_peripheral.open_ds(vector.key, vector.iv, vector.ciphertext)
    assert opened == vector.parameters.plaintext(vector.iv)


@each_vector
def test_a_ds_key_opens_with_no_other_key(vector: Vector) -> None:
    right = vector.parameters.plaintext(vector.iv)
    for at in range(32):
        key = bytearray(vector.key)
        key[at] ^= 1
        opened = hmac_peripheral.open_ds(bytes(key), vector.iv, vector.ciphertext)
        assert len(opened) == len(right)
        assert all(opened[i : i + 16] != right[i : i + 16] for i in range(0, len(right), 16))


@each_vector
def test_a_ds_key_is_sealed_as_esp_idf_seals_it(vector: Vector) -> None:
    parameters = vector.parameters.plaintext(vector.iv)
    assert hmac_peripheral.seal_ds(vector.key, vector.iv, parameters) == vector.ciphertext


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 99).flatmap(lambda n: st.binary(min_size=16 * n, max_size=16 * n)),
)
def test_a_sealed_ds_key_opens(key: bytes, iv: bytes, data: bytes) -> None:
    assert hmac_peripheral.open_ds(key, iv, hmac_peripheral.seal_ds(key, iv, data)) == data


@pytest.mark.parametrize(("iv", "length"), [(15, 16), (17, 16), (0, 16), (16, 15)])
def test_a_ds_key_of_other_lengths_is_not_sealed(iv: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"block length|IV size"):
        hmac_peripheral.seal_ds(KEY, bytes(iv), bytes(length))


@pytest.mark.parametrize("iv", [0, 1, 15, 17, 32])
def test_an_iv_of_another_length_opens_nothing(iv: int) -> None:
    assert hmac_peripheral.open_ds(KEY, bytes(iv), bytes(32)) == b""


@given(st.binary(max_size=64), st.binary(max_size=40), st.binary(max_size=100))
def test_any_lengths_of_a_ds_key_have_an_answer(key: bytes, iv: bytes, data: bytes) -> None:
    fits = len(iv) == 16 and len(data) % 16 == 0
    assert len(hmac_peripheral.open_ds(key, iv, data)) == (len(data) if fits else 0)


# --- Encrypted entries --------------------------------------------------------------------------


class GcmVector(NamedTuple):
    """A vector with a key of 256 bits, a nonce of 128 bits and no associated data.

    Source: C2SP/wycheproof dac1dd4 (Apache-2.0), testvectors_v1/aes_gcm_test.json, tcId.
    """

    number: int
    key: str
    nonce: str
    message: str
    ciphertext: str
    tag: str


GCM_VECTORS = (
    GcmVector(
        242,
        "00112233445566778899aabbccddeeff102132435465768798a9bacbdcedfe0f",
        "ce20a7e870696a5e68533c465bad2ba1",
        "00" * 40,
        "4f4350565d91d9aa8c5f4048550492ad6d6fdabf66da5d1e2af7bfe1a8aadaa0baa3de38a41d9713",
        "155da6441ec071ef2d8e6cffbacc1c7c",
    ),
    GcmVector(
        254,
        "b4cd11db0b3e0b9b34eafd9fe027746976379155e76116afde1b96d21298e34f",
        "00c49f4ebb07393f07ebc3825f7b0830",
        "",
        "",
        "306fe8c9645cc849823e333a685b90b2",
    ),
    GcmVector(
        258,
        "4f84782bfbb64a973c3de3dcfa3430367fd68bc0b4c3b31e5d7c8141ba3e6a67",
        "5d1bde6fa0994b33efd8f23f531248a7",
        "78cb6650a1908a842101ea85804fed00cc56fbdafafba0ef4d1ca607dcae57b6",
        "cb960201fa5ad41d41d1c2c8037c71d52b72e76b16b589d71b976627c9734c9d",
        "8dfce16467c3a6ebb3e7242c9a551962",
    ),
)


@pytest.mark.parametrize("vector", GCM_VECTORS, ids=lambda vector: str(vector.number))
def test_gcm_with_a_nonce_of_sixteen_bytes(
    vector: GcmVector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the peripheral would answer is replaced by the vector's key and nonce."""
    answers = {b"\xff" * 32: vector.key, struct.pack("<8I", *[0xABCDABCD] * 8): vector.nonce}
    monkeypatch.setattr(
        hmac_peripheral,
        "_hmac",
        lambda _key, message: bytes.fromhex(answers[message]).ljust(32, b"\xee"),
    )
    sealed = bytes.fromhex(vector.ciphertext + vector.tag)
    assert hmac_peripheral.open_entry(KEY, sealed) == bytes.fromhex(vector.message)
    altered = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    assert hmac_peripheral.open_entry(KEY, altered) is None


def seal(key: bytes, plaintext: bytes) -> bytes:
    """An entry as esp_secure_cert_encrypt_with_hmac makes it."""
    aes_key = hmac.new(key, b"\xff" * 32, hashlib.sha256).digest()
    nonce = hmac.new(key, b"\xcd\xab\xcd\xab" * 8, hashlib.sha256).digest()[:16]
    return AESGCM(aes_key).encrypt(nonce, plaintext, None)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_is_sealed_opens(key: bytes, plaintext: bytes) -> None:
    assert hmac_peripheral.open_entry(key, seal(key, plaintext)) == plaintext


def test_every_altered_byte_keeps_an_entry_shut() -> None:
    sealed = seal(KEY, b"a private key")
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 0x80
        assert hmac_peripheral.open_entry(KEY, bytes(altered)) is None
    for at in range(len(KEY)):
        other = bytearray(KEY)
        other[at] ^= 1
        assert hmac_peripheral.open_entry(bytes(other), sealed) is None


@given(st.binary(max_size=64), st.binary(max_size=100))
def test_any_bytes_have_an_answer(key: bytes, data: bytes) -> None:
    assert hmac_peripheral.open_entry(key, data) is None


# --- Derived keys -------------------------------------------------------------------------------


def pbkdf2(password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """PBKDF2-HMAC-SHA256 by its definition in RFC 8018, 5.2."""
    derived = b""
    for block in range(1, -(-length // 32) + 1):
        last = hmac.digest(password, salt + struct.pack(">I", block), "sha256")
        total = int.from_bytes(last, "big")
        for _ in range(iterations - 1):
            last = hmac.digest(password, last, "sha256")
            total ^= int.from_bytes(last, "big")
        derived += total.to_bytes(32, "big")
    return derived[:length]


@pytest.mark.parametrize(
    ("password", "salt", "iterations", "expected"),
    [
        (
            b"passwd",
            b"salt",
            1,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
            "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
        ),
        (
            b"Password",
            b"NaCl",
            80000,
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
            "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
        ),
    ],
)
def test_the_definition_gives_the_vectors_of_rfc_7914(
    password: bytes, salt: bytes, iterations: int, expected: str
) -> None:
    """Source: RFC 7914, 11."""
    assert pbkdf2(password, salt, iterations, 64).hex() == expected


def scalar_of(key: bytes, salt: bytes) -> int:
    derived = hmac_peripheral.derive_ecdsa(key, salt)
    assert derived is not None
    assert isinstance(derived.curve, ec.SECP256R1)
    return derived.private_numbers().private_value


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64))
@settings(max_examples=20, deadline=None)
def test_derivation_is_the_definition_with_2048_rounds(key: bytes, salt: bytes) -> None:
    assert scalar_of(key, salt) == int.from_bytes(pbkdf2(key, salt, 2048, 32), "big")


def test_the_derived_key_is_that_of_the_fixture_and_as_long_as_the_firmware_makes_it() -> None:
    """121 bytes of SEC1 DER. Source: esp_secure_cert_mgr, ESP_SECURE_CERT_ECDSA_DER_KEY_SIZE."""
    derived = hmac_peripheral.derive_ecdsa(KEY, SALT)
    assert derived is not None
    public = certificates.public_key((FIXTURES / "inputs" / "derived_device.der").read_bytes())
    assert public is not None
    assert keypairs.signs_for(derived, public)
    der = derived.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert len(der) == 121


@pytest.mark.parametrize(
    ("scalar", "is_key"),
    [
        (0, False),
        (1, True),
        (P256_ORDER - 1, True),
        (P256_ORDER, False),
        (P256_ORDER + 1, False),
        (2**256 - 1, False),
    ],
)
def test_a_scalar_out_of_range_is_no_key_and_is_not_reduced(
    scalar: int, is_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2^32 HMAC keys one gives such a scalar: here the derivation's answer is replaced."""
    answer = scalar.to_bytes(32, "big")
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *_: answer)
    derived = hmac_peripheral.derive_ecdsa(KEY, SALT)
    assert (derived is not None) == is_key
    assert derived is None or derived.private_numbers().private_value == scalar
