"""`espcert.checks.private_key`: readable, and that of the device certificate."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import real_image
from tests.toolkit import pki

from espcert import detection, hmac_peripheral, image, keypairs
from espcert.checks import private_key
from espcert.findings import Finding
from espcert.keys import Keys
from espcert_formats.items import Contents

PASSWORD = b"correct horse"
EC, OTHER_EC, P384 = pki.make_key(), pki.make_key("P-256", 1), pki.make_key("P-384")
RSA, OTHER_RSA = pki.make_key("RSA-2048"), pki.make_key("RSA-2048", 1)
ED = pki.make_key("Ed25519")
HMAC_ENCRYPTED, HMAC_DERIVED, IN_PERIPHERAL = 0x80, 0x40, 0x08


def partition(key: bytes, certified: pki.Key | None = None, index: int = 0) -> Contents:
    """A key, and a device certificate for another or the same one."""
    entries = [pki.entry("private_key", key, index)]
    if certified is not None:
        leaf = pki.make_leaf(key=certified)
        entries.insert(0, pki.entry("device_cert", leaf.pem + b"\0", index))
    return pki.tlv_image(*entries)


def found_in(contents: Contents, **overrides: Any) -> list[Finding]:
    """What is found, each finding with the name and offset of the key."""
    found = list(private_key.check(pki.context(contents, **overrides)))
    for finding in found:
        assert finding.message.startswith(f"{finding.item}: ")
        assert finding.message.isprintable()
        assert finding.item is not None
        index = int(finding.item.removeprefix("private_key").strip("[]") or 0)
        assert finding.offset == pki.item_of(contents, "private_key", index).offset
    return found


def codes(contents: Contents, **overrides: Any) -> list[str]:
    return [finding.code for finding in found_in(contents, **overrides)]


# --- In plain text -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", [EC, P384, RSA], ids=["P-256", "P-384", "RSA"])
@pytest.mark.parametrize("encoding", [pki.PEM, pki.DER])
@pytest.mark.parametrize("form", [pki.PKCS8, pki.TRADITIONAL])
def test_proven(key: pki.Key, encoding: Encoding, form: Any) -> None:
    if key is ED and form is pki.TRADITIONAL:
        return
    data = pki.key_bytes(key, encoding, form)
    plaintext, proven = found_in(partition(data, key, 2))
    assert (plaintext.code, plaintext.item) == ("key-plaintext", "private_key[2]")
    assert keypairs.key_name(key) in plaintext.message
    assert (proven.code, proven.item) == ("key-proven", "private_key[2]")
    assert codes(partition(data + b"\0", key)) == ["key-plaintext", "key-proven"]


@pytest.mark.parametrize(
    ("key", "certified"),
    [(EC, OTHER_EC), (EC, P384), (EC, RSA), (RSA, OTHER_RSA), (RSA, EC)],
)
def test_mismatch(key: pki.Key, certified: pki.Key) -> None:
    _, mismatch = found_in(partition(pki.key_bytes(key), certified))
    assert mismatch.code == "key-mismatch"
    for one in (key, certified):
        public = one.public_key()
        digest = keypairs.key_digest(public)
        assert digest is not None
        assert f"{keypairs.key_name(public)} (public key {digest[:16]}...)" in mismatch.message


def test_the_digest_is_that_of_openssl() -> None:
    """`openssl pkey -pubout -outform DER | sha256sum`: SHA-256 of SubjectPublicKeyInfo."""
    import hashlib

    encoded = EC.public_key().public_bytes(pki.DER, PublicFormat.SubjectPublicKeyInfo)
    assert keypairs.key_digest(EC.public_key()) == hashlib.sha256(encoded).hexdigest()


@pytest.mark.parametrize("key", [EC, RSA], ids=["EC", "RSA"])
def test_not_proven(key: pki.Key) -> None:
    _, finding = found_in(partition(pki.key_bytes(key)))
    assert finding.code == "key-not-proven"


def at_indices(key: pki.Key, certificates: Sequence[int], keys: Sequence[int]) -> list[str]:
    """What is said of a key at some indices beside its certificate at some."""
    leaf, stored = pki.make_leaf(key=EC).pem, pki.key_bytes(key)
    found = codes(
        pki.tlv_image(
            *(pki.entry("device_cert", leaf, index) for index in certificates),
            *(pki.entry("private_key", stored, index) for index in keys),
        )
    )
    return [code for code in found if code != "key-plaintext"]


def test_the_only_certificate_is_that_of_the_only_key() -> None:
    """esp-secure-cert-tool 2.2.0 writes the key at subtype 1 and the certificate at 0."""
    assert at_indices(EC, [0], [1]) == ["key-proven"]
    assert at_indices(P384, [0], [1]) == ["key-mismatch"]


def test_a_certificate_that_another_key_claims_is_no_others() -> None:
    assert at_indices(EC, [0], [0, 1]) == ["key-proven", "key-not-proven"]
    assert at_indices(EC, [0, 1], [2]) == ["key-not-proven"]
    assert at_indices(EC, [0], [1, 2]) == ["key-not-proven", "key-not-proven"]


def test_firmware_has_no_eddsa() -> None:
    assert codes(partition(pki.key_bytes(ED))) == ["key-plaintext", "key-unreadable"]


def test_an_unreadable_certificate_proves_nothing() -> None:
    contents = pki.tlv_image(
        pki.entry("device_cert", b"text"), pki.entry("private_key", pki.key_bytes(EC))
    )
    assert codes(contents) == ["key-plaintext", "key-not-proven"]


GOOD_DER = pki.key_bytes(EC, pki.DER)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0", b"text", b"\x30\x80", GOOD_DER[:-1], GOOD_DER + b"x", pki.make_leaf().pem),
        pki.key_bytes(EC).replace(b"-----END", b"-----and"),
        pki.key_bytes(EC).replace(b"M", b"?", 1),
        pki.key_bytes(EC)[:60],
    ],
)
def test_unreadable(data: bytes) -> None:
    (finding,) = found_in(partition(data, EC))
    assert (finding.code, finding.item) == ("key-unreadable", "private_key")
    assert f"{len(data)} bytes" in finding.message


def test_a_public_key_that_is_not_that_of_the_number() -> None:
    """SEC1 may hold the public key beside the number; not every OpenSSL compares them."""
    data = pki.key_bytes(EC, pki.DER, pki.TRADITIONAL)
    mine, others = (
        key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for key in (EC, OTHER_EC)
    )
    assert mine in data
    *_, finding = found_in(partition(data.replace(mine, others), OTHER_EC))
    assert finding.code in ("key-unreadable", "key-inconsistent")


def test_keys_that_sign_no_handshake() -> None:
    """DSA is tried in its old form only: of a PKCS#8 key the public half would be computed."""
    agreement = x25519.X25519PrivateKey.generate()
    signing = dsa.generate_private_key(1024)
    for key, form in ((agreement, pki.PKCS8), (signing, pki.TRADITIONAL)):
        _, finding = found_in(partition(pki.key_bytes(key, pki.DER, form), EC))
        assert finding.code == "key-unreadable"
        assert keypairs.key_name(key) in finding.message
    for encoding in (pki.DER, pki.PEM):
        assert codes(partition(pki.key_bytes(signing, encoding))) == ["key-unreadable"]


# --- RSA keys with numbers that contradict each other ------------------------------------------


def rsa_bytes(**changed: int) -> bytes:
    """The RSA key as PKCS#1 with some of its numbers changed. Source: RFC 8017, A.1.2."""
    assert isinstance(RSA, rsa.RSAPrivateKey)
    right = RSA.private_numbers()
    public = right.public_numbers
    numbers = {
        "version": 0,
        "n": public.n,
        "e": public.e,
        "d": right.d,
        "p": right.p,
        "q": right.q,
        "dmp1": right.dmp1,
        "dmq1": right.dmq1,
        "iqmp": right.iqmp,
    }
    values = {name: number ^ changed.get(name, 0) for name, number in numbers.items()}
    return pki.tagged(0x30, b"".join(map(integer, values.values())))


def integer(number: int) -> bytes:
    return pki.tagged(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def test_the_numbers_are_put_together_as_they_were() -> None:
    assert rsa_bytes() == pki.key_bytes(RSA, pki.DER, pki.TRADITIONAL)


@pytest.mark.parametrize("name", ["d", "p", "q", "dmp1", "dmq1", "iqmp"])
@pytest.mark.parametrize("bit", [1, 20, 900])
def test_inconsistent(name: str, bit: int) -> None:
    """OpenSSL makes up for one wrong number and signs all the same; firmware does not."""
    data = rsa_bytes(**{name: 1 << bit})
    _, finding = found_in(partition(data, RSA))
    assert finding.code == "key-inconsistent"
    _, finding = found_in(partition(data))
    assert finding.code == "key-inconsistent"


def test_inconsistent_in_all_exponents() -> None:
    data = rsa_bytes(d=2, dmp1=2, dmq1=2)
    assert codes(partition(data, RSA)) == ["key-plaintext", "key-inconsistent"]


def test_numbers_of_zero() -> None:
    assert isinstance(RSA, rsa.RSAPrivateKey)
    right = RSA.private_numbers()
    data = rsa_bytes(p=right.p, q=right.q)
    assert codes(partition(data, RSA)) == ["key-plaintext", "key-inconsistent"]


def test_another_modulus_is_another_key() -> None:
    assert codes(partition(rsa_bytes(n=2), RSA)) == ["key-plaintext", "key-mismatch"]


def test_primes_are_tested_where_nothing_else_speaks_for_the_key() -> None:
    """Three primes: the numbers agree as far as they go, the signature verifies, and yet."""
    import math

    assert isinstance(OTHER_RSA, rsa.RSAPrivateKey)
    small, big = 65539, OTHER_RSA.private_numbers()
    p, q, e = big.p * small, big.q, 65537
    lcm = math.lcm(big.p - 1, small - 1, p - 1, q - 1)
    if math.gcd(e, lcm) != 1:
        pytest.skip("no exponent for these primes")
    d = pow(e, -1, lcm)
    values = (0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    data = pki.tagged(0x30, b"".join(map(integer, values)))
    private = keypairs.load_private_key(data)
    assert private is not None
    public = keypairs.public_half(private)
    assert public is not None
    assert keypairs.signs_for(private, public)
    assert codes(partition(data)) == ["key-plaintext", "key-inconsistent"]


def test_keys_larger_than_firmware_handles_are_not_tried() -> None:
    """A signature with 64 KiB of key would take hours."""
    assert isinstance(RSA, rsa.RSAPrivateKey)
    right = RSA.private_numbers()
    huge = right.public_numbers.n**5 | 1
    values = (0, huge, 65537, huge - 2, huge - 4, 3, 5, 7, 9)
    data = pki.tagged(0x30, b"".join(map(integer, values)))
    _, finding = found_in(partition(data))
    assert finding.code == "key-unreadable"
    assert "8192" in finding.message


# --- Under a password --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "form"),
    [(pki.PEM, pki.PKCS8), (pki.DER, pki.PKCS8), (pki.PEM, pki.TRADITIONAL)],
)
@pytest.mark.parametrize("key", [EC, RSA], ids=["EC", "RSA"])
def test_passwords(key: pki.Key, encoding: Encoding, form: Any) -> None:
    locked = pki.key_bytes(key, encoding, form, PASSWORD)
    assert codes(partition(locked, key)) == ["key-encrypted"]
    assert codes(partition(locked, key), key_password=b"wrong") == ["key-password"]
    assert codes(partition(locked, key), key_password=b"") == ["key-password"]
    assert codes(partition(locked, key), key_password=PASSWORD) == ["key-proven"]
    assert codes(partition(locked, OTHER_EC), key_password=PASSWORD) == ["key-mismatch"]
    assert codes(partition(locked), key_password=PASSWORD) == ["key-not-proven"]
    if encoding is pki.DER:
        assert codes(partition(locked + b"\0", key), key_password=PASSWORD) == ["key-proven"]


def test_a_password_is_not_for_keys_without_one() -> None:
    contents = partition(pki.key_bytes(EC), EC)
    assert codes(contents, key_password=PASSWORD) == ["key-plaintext", "key-proven"]


def locked_der(*parameters: int, algorithm: str) -> bytes:
    """An encrypted key whose key derivation has these parameters. Source: RFC 8018, appendix A."""
    name = bytes.fromhex(algorithm)
    salted = pki.tagged(0x30, pki.tagged(4, bytes(8)) + b"".join(map(integer, parameters)))
    derivation = pki.tagged(0x30, name + salted)
    cipher = pki.tagged(0x30, bytes.fromhex("060960864801650304012a") + pki.tagged(4, bytes(16)))
    scheme = bytes.fromhex("06092a864886f70d01050d") + pki.tagged(0x30, derivation + cipher)
    return pki.tagged(0x30, pki.tagged(0x30, scheme) + pki.tagged(4, bytes(144)))


PBKDF2, SCRYPT = "06092a864886f70d01050c", "06092b06010401da47040b"


@pytest.mark.parametrize(
    "data",
    [
        locked_der(1 << 62, algorithm=PBKDF2),
        locked_der(1 << 31, 0, algorithm=PBKDF2),
        locked_der((1 << 20) + 1, 32, algorithm=PBKDF2),
        locked_der(1 << 40, 8, 1, algorithm=SCRYPT),
        locked_der(1 << 18, 8, 1, 32, algorithm=SCRYPT),
        locked_der(1 << 14, 8, 1 << 10, algorithm=SCRYPT),
    ],
)
def test_hostile_rounds_are_not_run(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years of hashing, or terabytes of memory: the library would begin with it."""
    from cryptography.hazmat.primitives import serialization

    def fail(*_arguments: object, **_options: object) -> None:
        pytest.fail("it was tried")

    monkeypatch.setattr(serialization, "load_der_private_key", fail)
    monkeypatch.setattr(serialization, "load_pem_private_key", fail)
    lines = base64.encodebytes(data)
    mark = b"-----%s ENCRYPTED PRIVATE KEY-----\n"
    for stored in (data, mark % b"BEGIN" + lines + mark % b"END"):
        assert codes(partition(stored), key_password=PASSWORD) == ["key-password"]
        assert codes(partition(stored)) == ["key-encrypted"]


@pytest.mark.parametrize(
    "data",
    [
        locked_der(2048, algorithm=PBKDF2),
        locked_der(600_000, 32, algorithm=PBKDF2),
        locked_der(1 << 14, 8, 1, 32, algorithm=SCRYPT),
    ],
)
def test_honest_rounds_are_run(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization

    tried: list[object] = []
    monkeypatch.setattr(
        serialization, "load_der_private_key", lambda *args, **_options: tried.append(args)
    )
    codes(partition(data), key_password=PASSWORD)
    assert tried


def test_hostile_dsa_keys_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would compute the public key, with numbers as large as an entry for hours."""
    from cryptography.hazmat.primitives import serialization

    def fail(*_arguments: object, **_options: object) -> None:
        pytest.fail("it was tried")

    numbers = b"".join(map(integer, ((1 << 9000) + 1, (1 << 256) + 1, 3)))
    algorithm = pki.tagged(0x30, bytes.fromhex("06072a8648ce380401") + pki.tagged(0x30, numbers))
    number = pki.tagged(4, integer((1 << 8999) + 1))
    data = pki.tagged(0x30, integer(0) + algorithm + number)
    lines = base64.encodebytes(data)
    begin, end = b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n"
    monkeypatch.setattr(serialization, "load_der_private_key", fail)
    monkeypatch.setattr(serialization, "load_pem_private_key", fail)
    for stored in (
        data,
        data + b"\0",
        begin + lines + end,
        begin + b"A: B\n\n" + lines + end,
        begin + b"QQ\n\n" + lines + end,
        b"-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n" + begin + lines + end,
    ):
        assert codes(partition(stored), key_password=PASSWORD) == ["key-unreadable"]


# --- What is others' business ------------------------------------------------------------------


@pytest.mark.parametrize("flags", [HMAC_ENCRYPTED, HMAC_DERIVED, IN_PERIPHERAL, 0x88])
def test_protected_keys_are_skipped(flags: int) -> None:
    contents = pki.tlv_image(pki.entry("private_key", pki.key_bytes(EC), flags=flags))
    assert codes(contents) == []


def test_damaged_items_are_skipped() -> None:
    assert codes(pki.tlv_image(pki.entry("private_key", b"text"), damaged=True)) == []


def test_other_items_are_skipped() -> None:
    assert codes(pki.tlv_image(pki.entry("tee_key", pki.key_bytes(EC)))) == []


def test_judging_a_key_that_was_opened() -> None:
    """What the check of keys under HMAC does with a key that it has opened."""
    contents = pki.tlv_image(
        pki.entry("device_cert", pki.make_leaf(key=EC).pem, 1),
        pki.entry("private_key", bytes(64), 1, HMAC_ENCRYPTED),
    )
    item = pki.item_of(contents, "private_key", 1)
    for key, code in ((EC, "key-proven"), (OTHER_EC, "key-mismatch")):
        (finding,) = private_key.judge(key, item, pki.context(contents))
        assert (finding.code, finding.item) == (code, "private_key[1]")
        assert finding.offset == item.offset


def test_a_certificate_under_hmac_counts_once_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = pki.tlv_image(
        pki.entry("device_cert", bytes(64), flags=HMAC_ENCRYPTED),
        pki.entry("private_key", pki.key_bytes(EC)),
    )
    assert codes(contents) == ["key-plaintext", "key-not-proven"]
    leaf = pki.make_leaf(key=EC)
    monkeypatch.setattr(hmac_peripheral, "open_entry", lambda _key, _data: leaf.der)
    assert codes(contents, keys=Keys(bytes(32))) == ["key-plaintext", "key-proven"]


# --- Secrets and hostility ---------------------------------------------------------------------


@pytest.mark.parametrize("key", [EC, RSA], ids=["EC", "RSA"])
def test_no_secret_is_told(key: Any) -> None:
    numbers = key.private_numbers()
    secret = getattr(numbers, "private_value", None) or numbers.d
    pem = pki.key_bytes(key).decode().splitlines()[1:-2]
    for contents in (partition(pki.key_bytes(key), certified) for certified in (key, P384, None)):
        for finding in found_in(contents):
            text = f"{finding.message} {finding!r}"
            assert f"{secret:x}"[:16] not in text
            assert str(secret)[:16] not in text
            assert not any(line in text for line in pem)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_nothing_is_raised(data: st.DataObject) -> None:
    """Good keys with some bytes changed; no change makes a wrong key right."""
    good = data.draw(st.sampled_from(GOOD_FORMS))
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    found = codes(partition(bytes(changed), P384), key_password=PASSWORD)
    assert "key-proven" not in found
    assert found


GOOD_FORMS = [
    *(pki.key_bytes(EC, encoding, form) for encoding in (pki.PEM, pki.DER)
      for form in (pki.PKCS8, pki.TRADITIONAL)),
    pki.key_bytes(EC, pki.PEM, pki.TRADITIONAL, PASSWORD),
    pki.key_bytes(RSA, pki.DER),
]  # fmt: skip


@given(st.binary(max_size=100))
def test_nothing_is_raised_by_noise(data: bytes) -> None:
    for start in (b"", b"\x30\x20", b"-----BEGIN PRIVATE KEY-----\n", b"\x30\x20\x30\x10"):
        assert codes(partition(start + data), key_password=PASSWORD)


# --- Real images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        *(("cust_flash", 0x1840), ("cust_flash_legacy", 0x1840), ("cust_flash_tlv", 0x7CC)),
        *(("nvs", 0x8A0), ("tlv_signed", 0x91C), ("tlv_from_csv", 0xD8C)),
    ],
)
def test_real_images(name: str, offset: int) -> None:
    data = real_image(f"{name}/partition.bin")
    label = "pre_prov" if name == "cust_flash_legacy" else None
    found = found_in(detection.detect(image.locate(data, label=label)).require())
    assert [(one.code, one.offset) for one in found] == [
        ("key-plaintext", offset),
        ("key-proven", offset),
    ]
