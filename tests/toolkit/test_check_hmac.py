"""`espcert.checks.hmac`: entries that are encrypted under HMAC, and keys that are derived."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES
from tests.toolkit.pki import (
    DER,
    Issued,
    context,
    entry,
    item_of,
    key_bytes,
    make_key,
    make_leaf,
    tlv_image,
)

from espcert import detection, hmac_peripheral, image
from espcert.checks import hmac as check_hmac
from espcert.chips import CHIPS
from espcert.findings import Finding
from espcert.keys import Keys, Lookup
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item
from espcert_formats.tlv import NewEntry

FIXTURE_KEY = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()
KEY = bytes(range(1, 33))
OTHER = bytes(range(2, 34))
SALT = bytes(range(40, 72))
ENCRYPTED, DERIVED = kinds.HMAC_ENCRYPTED_FLAG, kinds.HMAC_DERIVED_FLAG


def fixture(name: str) -> Contents:
    data = (FIXTURES / "images" / f"{name}.bin").read_bytes()
    return detection.detect(image.locate(data)).require()


def found(source: Contents, key: bytes | None = KEY, **overrides: Any) -> list[Finding]:
    return list(check_hmac.check(context(source, **{"keys": Keys(key), **overrides})))


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def expect(findings: list[Finding], item: Item, *expected: str) -> str:
    """These codes in this order, all on this item and its place; the message of the last."""
    name = f"{item.kind}[{item.index}]" if item.index else item.kind
    assert codes(findings) == list(expected)
    assert {(finding.item, finding.offset) for finding in findings} == {(name, item.offset)}
    assert all(finding.message.startswith(f"{name}: ") for finding in findings)
    return findings[-1].message


def seal(plaintext: bytes, key: bytes = KEY) -> bytes:
    """As esp_secure_cert_encrypt_with_hmac makes it."""
    aes_key = hmac.digest(key, b"\xff" * 32, "sha256")
    nonce = hmac.digest(key, struct.pack("<8I", *[0xABCDABCD] * 8), "sha256")[:16]
    return AESGCM(aes_key).encrypt(nonce, plaintext, None)


LEAF = make_leaf()


def encrypted(
    plaintext: bytes, leaf: Issued | None = LEAF, index: int = 0, flags: int = ENCRYPTED
) -> Contents:
    """A partition with an encrypted private key, and the certificate of another entry."""
    entries = [entry(kinds.PRIVATE_KEY, seal(plaintext), index, flags)]
    if leaf is not None:
        entries.append(entry(kinds.DEVICE_CERT, leaf.pem + b"\0", index))
    return tlv_image(*entries)


def expect_on_key(source: Contents, *expected: str, index: int = 0, **options: Any) -> str:
    return expect(found(source, **options), item_of(source, kinds.PRIVATE_KEY, index), *expected)


# --- Nothing to do -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tlv_ec", "tlv_ds_c3", "cust_flash_rsa", "nvs_ec", "tlv_2_0"])
def test_an_image_without_hmac_has_no_findings_and_asks_for_no_key(name: str) -> None:
    assert found(fixture(name), FIXTURE_KEY, chip=CHIPS["esp32"]) == []


@pytest.mark.parametrize("flags", [0x00, 0xC0, 0xFF, 0x3F])
def test_other_flags_are_no_business_of_hmac(flags: int) -> None:
    assert found(tlv_image(entry(kinds.PRIVATE_KEY, b"x", 0, flags))) == []


@pytest.mark.parametrize("flags", [ENCRYPTED, DERIVED])
def test_a_damaged_entry_is_skipped(flags: int) -> None:
    source = tlv_image(entry(kinds.PRIVATE_KEY, bytes(20), 0, flags), damaged=True)
    assert found(source) == []


# --- Encrypted entries ---------------------------------------------------------------------------


def test_the_fixture_opens_with_its_key_and_with_no_other() -> None:
    source = fixture("tlv_hmac_encrypted")
    expect_on_key(source, "hmac-versions", "key-proven", "hmac-proven", key=FIXTURE_KEY)
    for at in range(32):
        other = bytearray(FIXTURE_KEY)
        other[at] ^= 1
        expect_on_key(source, "hmac-versions", "hmac-not-opened", key=bytes(other))
    expect_on_key(source, "hmac-versions", "hmac-not-proven", key=None)


def test_every_altered_bit_of_a_block_is_seen() -> None:
    source = fixture("tlv_hmac_encrypted")
    item = item_of(source, kinds.PRIVATE_KEY)
    for at in range(len(item.data)):
        data = bytearray(item.data)
        data[at] ^= 1 << at % 8
        altered = replace(item, data=bytes(data))
        items = tuple(altered if one is item else one for one in source.items)
        told = found(replace(source, items=items), FIXTURE_KEY)
        expect(told, item, "hmac-versions", "hmac-not-opened")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17])
def test_an_entry_too_short_for_its_tag(length: int) -> None:
    source = tlv_image(entry(kinds.PRIVATE_KEY, bytes(length), 0, ENCRYPTED))
    message = expect_on_key(source, "hmac-versions", "hmac-not-opened")
    assert f"{length} bytes" in message


@pytest.mark.parametrize("index", [0, 1, 16])
@pytest.mark.parametrize("plaintext", [key_bytes(LEAF.key), key_bytes(LEAF.key, DER)])
def test_a_key_that_fits_is_proven(plaintext: bytes, index: int) -> None:
    source = encrypted(plaintext, index=index)
    expect_on_key(source, "hmac-versions", "key-proven", "hmac-proven", index=index)


def test_a_key_that_fits_another_certificate() -> None:
    source = encrypted(key_bytes(make_key("P-256", 7)))
    expect_on_key(source, "hmac-versions", "key-mismatch")


def test_a_key_without_a_certificate() -> None:
    source = encrypted(key_bytes(LEAF.key), None)
    expect_on_key(source, "hmac-versions", "key-not-proven")


@pytest.mark.parametrize("plaintext", [b"", b"no key", LEAF.pem])
def test_a_plaintext_that_is_no_key(plaintext: bytes) -> None:
    message = expect_on_key(encrypted(plaintext), "hmac-versions", "key-unreadable")
    assert f"{len(plaintext)} bytes" in message


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        (None, ["key-encrypted"]),
        (b"wrong", ["key-password"]),
        (b"secret", ["key-proven", "hmac-proven"]),
    ],
)
def test_a_key_under_a_password_inside(password: bytes | None, expected: list[str]) -> None:
    source = encrypted(key_bytes(LEAF.key, password=b"secret"))
    message = expect_on_key(source, "hmac-versions", *expected, key_password=password)
    assert "secret" not in message


def test_an_encrypted_certificate_opens_and_is_what_the_key_is_compared_with() -> None:
    source = tlv_image(
        entry(kinds.DEVICE_CERT, seal(LEAF.pem + b"\0"), 0, ENCRYPTED),
        entry(kinds.PRIVATE_KEY, seal(key_bytes(LEAF.key)), 0, ENCRYPTED),
        entry("user_data_1", seal(b"anything"), 0, ENCRYPTED),
    )
    told = found(source)
    by_item = {
        kind: [finding for finding in told if finding.item == kind]
        for kind in (kinds.DEVICE_CERT, kinds.PRIVATE_KEY, "user_data_1")
    }
    for kind in (kinds.DEVICE_CERT, "user_data_1"):
        expect(by_item[kind], item_of(source, kind), "hmac-versions", "hmac-proven")
    key = item_of(source, kinds.PRIVATE_KEY)
    expect(by_item[kinds.PRIVATE_KEY], key, "hmac-versions", "key-proven", "hmac-proven")
    assert codes(found(source, OTHER)) == ["hmac-versions", "hmac-not-opened"] * 3
    assert codes(found(source, None)) == ["hmac-versions", "hmac-not-proven"] * 3


def test_a_ds_entry_is_opened_as_a_whole() -> None:
    """It is stored as one entry, and read as two items and a word."""
    plaintext = struct.pack("<I", 63) + bytes(range(16)) + bytes(1200)
    source = tlv_image(entry("ds_data", seal(plaintext), 0, ENCRYPTED))
    item = item_of(source, kinds.DS_CIPHERTEXT)
    expect(found(source), item, "hmac-versions", "hmac-proven")
    expect(found(source, OTHER), item, "hmac-versions", "hmac-not-opened")
    cut = tlv_image(entry("ds_data", seal(b""), 0, ENCRYPTED))
    expect(found(cut), item_of(cut, kinds.DS_CIPHERTEXT), "hmac-versions", "hmac-proven")


def test_flags_that_name_the_ecdsa_peripheral_too_are_encrypted_all_the_same() -> None:
    """Seen: the firmware's data path asks for encryption first."""
    source = encrypted(key_bytes(LEAF.key), flags=0x88)
    expect_on_key(source, "hmac-versions", "key-proven", "hmac-proven")


# --- Derived keys --------------------------------------------------------------------------------


def derived_key(salt: bytes = SALT, key: bytes = KEY) -> ec.EllipticCurvePrivateKey:
    scalar = hashlib.pbkdf2_hmac("sha256", key, salt, 2048, 32)
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


DERIVED_LEAF = make_leaf(key=derived_key())


def derived(*others: NewEntry, data: bytes = b"", index: int = 0) -> Contents:
    return tlv_image(entry(kinds.PRIVATE_KEY, data, index, DERIVED), *others)


def salt_entry(salt: bytes = SALT, index: int = 0, flags: int = 0) -> NewEntry:
    return entry(kinds.ECDSA_SALT, salt, index, flags)


def leaf_entry(leaf: Issued = DERIVED_LEAF, index: int = 0) -> NewEntry:
    return entry(kinds.DEVICE_CERT, leaf.pem + b"\0", index)


def test_the_fixture_derives_with_its_key_and_with_no_other() -> None:
    source = fixture("tlv_hmac_derived")
    expect_on_key(source, "hmac-proven", key=FIXTURE_KEY)
    for at in range(32):
        other = bytearray(FIXTURE_KEY)
        other[at] ^= 0x40
        expect_on_key(source, "derived-foreign", key=bytes(other))
    expect_on_key(source, "hmac-not-proven", key=None)


def test_every_altered_byte_of_the_salt_gives_another_key() -> None:
    source = fixture("tlv_hmac_derived")
    salt = item_of(source, kinds.ECDSA_SALT)
    for at in range(len(salt.data)):
        data = bytearray(salt.data)
        data[at] ^= 1
        other = replace(salt, data=bytes(data))
        items = tuple(other if one is salt else one for one in source.items)
        expect_on_key(replace(source, items=items), "derived-foreign", key=FIXTURE_KEY)


@pytest.mark.parametrize("salt", [b"", b"x", bytes(64)])
@pytest.mark.parametrize("before", [True, False])
def test_the_salt_may_have_any_length_and_place(salt: bytes, before: bool) -> None:
    leaf = make_leaf(key=derived_key(salt))
    parts = [entry(kinds.PRIVATE_KEY, b"", 0, DERIVED), salt_entry(salt)]
    source = tlv_image(*(reversed(parts) if before else parts), leaf_entry(leaf))
    expect_on_key(source, "hmac-proven")


def test_salt_and_certificate_are_those_of_the_keys_index() -> None:
    second = derived_key(b"second")
    source = derived(
        salt_entry(),
        salt_entry(b"second", 1),
        leaf_entry(),
        leaf_entry(make_leaf(key=second), 1),
        entry(kinds.PRIVATE_KEY, b"", 1, DERIVED),
    )
    told = found(source)
    assert codes(told) == ["hmac-proven", "hmac-proven"]
    assert [finding.item for finding in told] == ["private_key", "private_key[1]"]


def test_of_two_salts_firmware_reads_the_first() -> None:
    expect_on_key(derived(salt_entry(), salt_entry(b"second"), leaf_entry()), "hmac-proven")
    expect_on_key(derived(salt_entry(b"x"), salt_entry(), leaf_entry()), "derived-foreign")


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize("others", [(), (salt_entry(index=1),)])
def test_a_missing_salt(others: tuple[NewEntry, ...], key: bytes | None) -> None:
    message = expect_on_key(derived(*others, leaf_entry()), "salt-missing", key=key)
    assert "ecdsa_salt is not there" in message


def test_a_damaged_salt() -> None:
    source = tlv_image(entry(kinds.PRIVATE_KEY, b"", 0, DERIVED), salt_entry(), damaged=True)
    assert "ecdsa_salt is damaged" in expect_on_key(source, "salt-missing")


def test_an_encrypted_salt() -> None:
    """The firmware opens entries of every type, the salt before it derives."""
    source = derived(leaf_entry(), salt_entry(seal(SALT), flags=ENCRYPTED))
    assert codes(found(source)) == ["hmac-proven", "hmac-versions", "hmac-proven"]
    told = found(source, OTHER)
    assert codes(told) == ["hmac-not-proven", "hmac-versions", "hmac-not-opened"]
    assert "ecdsa_salt is not at hand" in told[0].message


def test_a_scalar_out_of_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmac_peripheral, "derive_ecdsa", lambda _key, _salt: None)
    expect_on_key(derived(salt_entry(), leaf_entry()), "derived-out-of-range")


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
def test_another_certificate(kind: str) -> None:
    source = derived(salt_entry(), leaf_entry(make_leaf(key=make_key(kind, 3))))
    message = expect_on_key(source, "derived-foreign")
    assert kind.replace("-", " ") in message or f"ECDSA {kind}" in message


@pytest.mark.parametrize("others", [(), (entry(kinds.DEVICE_CERT, b"no certificate"),)])
def test_a_derived_key_without_a_certificate(others: tuple[NewEntry, ...]) -> None:
    message = expect_on_key(derived(salt_entry(), *others), "key-not-proven")
    assert "no readable device certificate" in message


def test_an_entry_that_carries_data_and_is_derived() -> None:
    source = derived(salt_entry(), leaf_entry(), data=b"left over")
    first, second = found(source)
    assert (first.code, second.code) == ("derived-carries-data", "hmac-proven")
    assert first.offset == second.offset == item_of(source, kinds.PRIVATE_KEY).offset
    assert "9 bytes" in first.message
    assert "left" not in first.message


def test_derivation_comes_before_the_ecdsa_peripheral() -> None:
    """Flags 0x48: the order of the firmware's tests."""
    source = tlv_image(entry(kinds.PRIVATE_KEY, b"", 0, 0x48), salt_entry(), leaf_entry())
    expect_on_key(source, "hmac-proven")


def test_thousands_of_entries_are_derived_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = hmac_peripheral.derive_ecdsa

    def derive(key: bytes, salt: bytes) -> Any:
        calls.append(salt)
        return original(key, salt)

    monkeypatch.setattr(hmac_peripheral, "derive_ecdsa", derive)
    source = derived(*[entry(kinds.PRIVATE_KEY, b"", 0, DERIVED)] * 300, salt_entry())
    assert codes(found(source)) == ["key-not-proven"] * 301
    assert calls == [SALT]


# --- Chip and origin of the key ------------------------------------------------------------------


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("flags", [ENCRYPTED, DERIVED])
def test_a_chip_without_hmac(chip: str, flags: int) -> None:
    """Source: ESP-IDF, soc_caps.h, SOC_HMAC_SUPPORTED."""
    without = {"esp32", "esp32c2", "esp32c61"}
    source = tlv_image(entry(kinds.PRIVATE_KEY, seal(b"x"), 0, flags), salt_entry())
    told = found(source, chip=CHIPS[chip])
    assert ("hmac-chip" in codes(told)) == (chip in without)
    if chip in without:
        assert told[0].code == "hmac-chip"
        assert told[0].offset == item_of(source, kinds.PRIVATE_KEY).offset
        assert chip in told[0].message


class OneLookup(Keys):
    """Keys that answer the same, whatever is asked."""

    answer = Lookup(None)

    def hmac_up(self) -> Lookup:
        return self.answer


def test_problems_of_the_key_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = (("efuse-key-missing", "there is none"), ("efuse-key-unreadable", "nor this"))
    source = derived(
        entry(kinds.PRIVATE_KEY, seal(key_bytes(LEAF.key)), 1, ENCRYPTED),
        salt_entry(),
        leaf_entry(),
    )
    first = item_of(source, kinds.PRIVATE_KEY)
    for key, count in ((None, 2), (KEY, 1)):
        monkeypatch.setattr(OneLookup, "answer", Lookup(key, "the key of the test", problems))
        told = found(source, keys=OneLookup())
        assert codes(told)[:2] == [code for code, _ in problems]
        assert {(one.item, one.offset) for one in told[:2]} == {("private_key", first.offset)}
        assert codes(told).count("hmac-not-proven") == (count if key is None else 0)
        assert codes(told).count("efuse-key-missing") == 1
        assert ("the key of the test" in told[2].message) == (key is not None)


def test_no_secret_is_told() -> None:
    plaintext = key_bytes(LEAF.key)
    scalar = derived_key().private_numbers().private_value
    sources = [
        encrypted(plaintext),
        encrypted(b"not a key but secret"),
        derived(salt_entry(), leaf_entry()),
        derived(salt_entry(), leaf_entry(LEAF)),
    ]
    told = " ".join(repr(finding) for source in sources for finding in found(source))
    secrets = [KEY.hex(), f"{scalar:x}", str(scalar), "secret", plaintext[30:60].decode()]
    assert told
    assert [secret for secret in secrets if secret in told] == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from([kinds.PRIVATE_KEY, kinds.ECDSA_SALT, kinds.DEVICE_CERT, "ds_data"]),
            st.binary(max_size=60),
            st.integers(0, 2),
            st.integers(0, 255),
        ),
        max_size=5,
    ),
    st.sampled_from([None, KEY]),
)
@settings(deadline=None, max_examples=60)
def test_any_entries_have_an_answer(
    entries: list[tuple[str, bytes, int, int]], key: bytes | None
) -> None:
    source = tlv_image(*[entry(*one) for one in entries]) if entries else fixture("tlv_ec")
    for finding in found(source, key, chip=CHIPS["esp32c2"]):
        assert finding.offset is not None
        assert finding.item is not None
