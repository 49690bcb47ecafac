"""`espcert.checks.ecdsa`: keys in the ECDSA peripheral."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES
from tests.toolkit.pki import (
    DER,
    PEM,
    TRADITIONAL,
    Key,
    context,
    entry,
    item_of,
    key_bytes,
    make_key,
    make_leaf,
    tlv_image,
)

from espcert import detection, image
from espcert.checks import ecdsa
from espcert.chips import CHIPS
from espcert.findings import Finding
from espcert.keys import Keys, Lookup
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item
from espcert_formats.tlv import NewEntry

PERIPHERAL = kinds.ECDSA_PERIPHERAL_FLAG
P256, P384 = make_key("P-256", 1000), make_key("P-384", 1000)


def fixture(name: str) -> Contents:
    data = (FIXTURES / "images" / f"{name}.bin").read_bytes()
    return detection.detect(image.locate(data)).require()


def config(block: int, index: int = 0, length: int = 40) -> NewEntry:
    return entry(kinds.SECURITY_CONFIG, bytes((block,)).ljust(length, b"\0")[:length], index)


def contents(
    *others: NewEntry,
    key: Key | None = P256,
    data: bytes = b"",
    flags: int = PERIPHERAL,
    index: int = 0,
) -> Contents:
    """A partition with a key in the peripheral, and the certificate of `key`."""
    entries = [entry(kinds.PRIVATE_KEY, data, index, flags), *others]
    if key is not None:
        entries.append(entry(kinds.DEVICE_CERT, make_leaf(key=key).pem + b"\0", index))
    return tlv_image(*entries)


def found(source: Contents, **overrides: Any) -> list[Finding]:
    return list(ecdsa.check(context(source, **overrides)))


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def one(findings: list[Finding], code: str, item: Item) -> str:
    """The message of the one finding of a code, which names this item and its place."""
    [finding] = [finding for finding in findings if finding.code == code]
    name = f"{item.kind}[{item.index}]" if item.index else item.kind
    assert (finding.item, finding.offset) == (name, item.offset)
    assert finding.message.startswith(f"{name}: ")
    return finding.message


def one_on_key(source: Contents, code: str, **overrides: Any) -> str:
    return one(found(source, **overrides), code, item_of(source, kinds.PRIVATE_KEY))


def one_on_config(source: Contents, code: str, **overrides: Any) -> str:
    return one(found(source, **overrides), code, item_of(source, kinds.SECURITY_CONFIG))


class Fixed(Keys):
    """Keys that answer the same; `asked` are the questions."""

    answer = Lookup(None)
    asked: tuple[tuple[int, str], ...] = ()

    def ecdsa(self, block: int, curve: str) -> Lookup:
        type(self).asked = (*self.asked, (block, curve))
        return self.answer


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> type[Fixed]:
    monkeypatch.setattr(Fixed, "asked", ())
    monkeypatch.setattr(Fixed, "answer", Lookup(None))
    return Fixed


# --- Other keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tlv_ec", "tlv_hmac_derived", "tlv_ds_c3", "nvs_ec", "tlv_2_0"])
def test_other_keys_are_no_business_of_the_peripheral(name: str) -> None:
    assert found(fixture(name), chip=CHIPS["esp32"]) == []


@pytest.mark.parametrize("flags", [0x00, 0x10, 0x38, 0x40, 0x48, 0xFF])
def test_other_flags(flags: int) -> None:
    assert found(contents(flags=flags)) == []


def test_a_damaged_entry_is_skipped() -> None:
    assert found(tlv_image(entry(kinds.PRIVATE_KEY, b"", 0, PERIPHERAL), damaged=True)) == []


# --- A key that is not gone ----------------------------------------------------------------------

ENCRYPTED_KEY = (FIXTURES / "inputs" / "ec_device.encrypted.key").read_bytes()
PASSWORD = (FIXTURES / "inputs" / "ec_device.password.txt").read_bytes().strip()

LEAKED = {
    "pem": key_bytes(P256),
    "pem without nul": key_bytes(P256)[:-1],
    "sec1 pem": key_bytes(P256, PEM, TRADITIONAL),
    "der": key_bytes(P256, DER),
    "sec1 der": key_bytes(P256, DER, TRADITIONAL),
    "der with nul": key_bytes(P256, DER) + b"\0",
    "rsa": key_bytes(make_key("RSA-2048")),
    "under a password": ENCRYPTED_KEY + b"\0",
    "der under a password": key_bytes(P256, DER, password=b"secret"),
    "der under a password with nul": key_bytes(P256, DER, password=b"secret") + b"\0",
}
NO_KEYS = {
    "zeros": bytes(32),
    "erased": b"\xff" * 40,
    "text": b"no key\0",
    "certificate": make_leaf().pem,
    "cut der": key_bytes(P256, DER)[:-1],
    "cut pem": key_bytes(P256)[:60],
    "public key": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
}


@pytest.mark.parametrize("case", LEAKED)
def test_a_leaked_key(case: str) -> None:
    source = contents(config(5), data=LEAKED[case])
    assert ecdsa.is_leaked(item_of(source, kinds.PRIVATE_KEY))
    message = one_on_key(source, "leaked-key")
    assert f"carries a private key (length {len(LEAKED[case])})" in message


@pytest.mark.parametrize("case", NO_KEYS)
def test_bytes_that_are_no_key_are_told_apart(case: str) -> None:
    source = contents(config(5), data=NO_KEYS[case])
    assert not ecdsa.is_leaked(item_of(source, kinds.PRIVATE_KEY))
    assert codes(found(source)) == ["leaked-key", "ecdsa-not-proven"]
    message = one_on_key(source, "leaked-key")
    assert f"no private key (length {len(NO_KEYS[case])})" in message


def test_the_leaked_key_is_judged() -> None:
    right = contents(config(5), data=key_bytes(P256))
    assert codes(found(right)) == ["leaked-key", "key-proven", "ecdsa-not-proven"]
    foreign = contents(config(5), data=key_bytes(make_key("P-256", 1001)))
    assert codes(found(foreign)) == ["leaked-key", "key-mismatch", "ecdsa-not-proven"]
    alone = contents(config(5), data=key_bytes(P256), key=None)
    assert codes(found(alone)) == ["leaked-key", "key-not-proven", "ecdsa-not-proven"]


def test_a_leaked_key_under_a_password_is_judged_with_the_password() -> None:
    certificate = (FIXTURES / "inputs" / "ec_device.pem").read_bytes() + b"\0"
    source = contents(
        config(5), entry(kinds.DEVICE_CERT, certificate), key=None, data=ENCRYPTED_KEY + b"\0"
    )
    assert codes(found(source)) == ["leaked-key", "ecdsa-not-proven"]
    assert codes(found(source, key_password=b"wrong")) == ["leaked-key", "ecdsa-not-proven"]
    told = codes(found(source, key_password=PASSWORD))
    assert told == ["leaked-key", "key-proven", "ecdsa-not-proven"]


def test_the_fixture_of_the_official_tool_leaks_its_key() -> None:
    source = fixture("tlv_ecdsa_leaked_key")
    assert codes(found(source)) == ["leaked-key", "key-proven", "ecdsa-not-proven"]
    assert "0x08" in one_on_key(source, "leaked-key")
    mended = fixture("tlv_ecdsa_peripheral")
    assert codes(found(mended)) == ["ecdsa-not-proven"]
    one_on_key(mended, "ecdsa-not-proven")


def test_what_is_leaked_is_told_of_whole_entries_of_the_peripheral_only() -> None:
    item = item_of(fixture("tlv_ecdsa_leaked_key"), kinds.PRIVATE_KEY)
    assert ecdsa.is_leaked(item)
    assert not ecdsa.is_leaked(replace(item, intact=False))
    assert not ecdsa.is_leaked(replace(item, protection=kinds.PLAINTEXT))
    assert not ecdsa.is_leaked(replace(item, kind="user_data_1"))
    assert not ecdsa.is_leaked(replace(item, data=b""))


def test_an_entry_that_is_encrypted_too_leaks_nothing() -> None:
    """Flags 0x88: its bytes are what the HMAC check looks at, unless they are a key."""
    source = contents(config(5), data=bytes(200), flags=0x88)
    assert codes(found(source)) == ["ecdsa-not-proven"]
    plain = contents(config(5), data=key_bytes(P256), flags=0x88)
    assert codes(found(plain)) == ["leaked-key", "key-proven", "ecdsa-not-proven"]


# --- The security config -------------------------------------------------------------------------


@pytest.mark.parametrize("others", [(), (config(5, index=1),)])
def test_a_missing_config(others: tuple[NewEntry, ...]) -> None:
    source = contents(*others)
    assert codes(found(source)) == ["ecdsa-config-missing", "ecdsa-not-proven"]
    assert "security_config," in one_on_key(source, "ecdsa-config-missing")


def test_a_damaged_config() -> None:
    source = tlv_image(entry(kinds.PRIVATE_KEY, b"", 0, PERIPHERAL), config(5), damaged=True)
    assert "is damaged" in one_on_key(source, "ecdsa-config-missing")


def test_configs_belong_to_their_index() -> None:
    source = contents(config(5, index=1), config(2), index=1)
    assert codes(found(source)) == ["ecdsa-not-proven"]


def test_of_two_configs_the_first_counts() -> None:
    assert codes(found(contents(config(5), config(2)))) == ["ecdsa-not-proven"]
    source = contents(config(2), config(5))
    assert "block 2" in one_on_config(source, "ecdsa-block")


@pytest.mark.parametrize("block", range(256))
@pytest.mark.parametrize("key", [P256, P384, None], ids=["P-256", "P-384", "no cert"])
def test_every_block(block: int, key: Key | None) -> None:
    source = contents(config(block), key=key)
    told = set(codes(found(source))) - {"ecdsa-not-proven"}
    high, low = divmod(block, 16)
    plain = 4 <= block <= 9
    two = 4 <= high <= 9 and 4 <= low <= 9 and high != low
    if key is P384:
        expected = set() if two else {"ecdsa-p384-block"} if plain else {"ecdsa-block"}
    else:
        expected = set() if plain or (two and key is None) else {"ecdsa-block"}
    assert told == expected
    for code in expected:
        one_on_config(source, code)


@pytest.mark.parametrize(
    ("chip", "first", "last"), [("esp32s31", 4, 8), ("esp32h2", 4, 9), ("esp32c61", 4, 9)]
)
def test_the_blocks_of_a_chip(chip: str, first: int, last: int) -> None:
    for block in range(16):
        told = codes(found(contents(config(block)), chip=CHIPS[chip]))
        assert ("ecdsa-block" in told) == (not first <= block <= last)
    message = one_on_config(contents(config(3)), "ecdsa-block", chip=CHIPS[chip])
    assert f"expected {first} to {last}" in message


@pytest.mark.parametrize("length", [0, 1, 39, 41])
def test_a_config_of_another_length(length: int) -> None:
    source = contents(config(5, length=length))
    assert f"{length} bytes" in one_on_config(source, "ecdsa-block")
    assert "ecdsa-not-proven" in codes(found(source))


# --- Curve and chip ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["P-192", "P-256", "P-384", "P-224", "RSA-2048", "Ed25519"])
def test_curves(kind: str) -> None:
    source = contents(config(5), key=make_key(kind, 1000))
    known = kind in ("P-192", "P-256", "P-384")
    assert ("ecdsa-curve" in codes(found(source))) == (not known)
    if not known:
        one_on_key(source, "ecdsa-curve")


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", ["P-192", "P-256", "P-384"])
def test_chips(chip: str, kind: str) -> None:
    """Source: ESP-IDF 102122904ad, soc_caps.h and rom/ecdsa.h."""
    small = {"esp32c5", "esp32c61", "esp32h2", "esp32h21", "esp32h4", "esp32p4", "esp32s31"}
    large = small - {"esp32c61", "esp32h2", "esp32h21"}
    able = large if kind == "P-384" else small
    source = contents(config(0x65 if kind == "P-384" else 5), key=make_key(kind, 1000))
    told = codes(found(source, chip=CHIPS[chip]))
    assert told == (["ecdsa-not-proven"] if chip in able else ["ecdsa-chip", "ecdsa-not-proven"])
    if chip not in able:
        assert chip in one_on_key(source, "ecdsa-chip", chip=CHIPS[chip])


def test_a_chip_without_a_certificate_to_ask() -> None:
    source = contents(config(5), key=None)
    assert codes(found(source, chip=CHIPS["esp32h2"])) == ["ecdsa-not-proven"]
    assert codes(found(source, chip=CHIPS["esp32c3"])) == ["ecdsa-chip", "ecdsa-not-proven"]


# --- The key in eFuse ----------------------------------------------------------------------------


def scalar(key: Key) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    value = key.private_numbers().private_value
    return value.to_bytes((key.curve.key_size + 7) // 8, "big")


@pytest.mark.parametrize(
    ("kind", "block", "curve"),
    [("P-192", 4, "secp192r1"), ("P-256", 9, "secp256r1"), ("P-384", 0x76, "secp384r1")],
)
def test_the_key_of_the_dump(
    kind: str, block: int, curve: str, fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, other = make_key(kind, 1000), make_key(kind, 1001)
    source = contents(config(block), key=right)
    for key, code in ((right, "ecdsa-proven"), (other, "ecdsa-foreign")):
        monkeypatch.setattr(fixed, "answer", Lookup(scalar(key), "block X"))
        assert codes(found(source, keys=fixed())) == [code]
        assert "block X" in one_on_key(source, code, keys=fixed())
    assert set(fixed.asked) == {(block, curve)}


@pytest.mark.parametrize("value", [b"", bytes(32), b"\xff" * 32, b"\xff" * 60])
def test_a_block_that_holds_no_key(
    value: bytes, fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed, "answer", Lookup(value, "block X"))
    message = one_on_key(contents(config(5)), "ecdsa-foreign", keys=fixed())
    assert "no key of its curve" in message


def test_every_bit_of_the_key_counts(fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch) -> None:
    source = contents(config(5))
    for at in range(32):
        other = bytearray(scalar(P256))
        other[at] ^= 1
        monkeypatch.setattr(fixed, "answer", Lookup(bytes(other), "block X"))
        one_on_key(source, "ecdsa-foreign", keys=fixed())


def test_problems_of_the_key_are_findings(
    fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = contents(config(5))
    problems = (("efuse-key-unreadable", "not readable"),)
    monkeypatch.setattr(fixed, "answer", Lookup(None, "", problems))
    assert codes(found(source, keys=fixed())) == ["efuse-key-unreadable", "ecdsa-not-proven"]
    message = one_on_key(source, "efuse-key-unreadable", keys=fixed())
    assert message == "private_key: not readable"


@pytest.mark.parametrize(
    ("key", "code"), [(P256, "ecdsa-proven"), (make_key("P-256", 1001), "ecdsa-not-proven")]
)
def test_a_block_burned_for_another_purpose(
    key: Key, code: str, fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is no key of the ECDSA peripheral, unless it fits."""
    problems = (("efuse-purpose", "has the purpose USER"),)
    monkeypatch.setattr(fixed, "answer", Lookup(scalar(key), "block X", problems))
    assert codes(found(contents(config(5)), keys=fixed())) == ["efuse-purpose", code]


@pytest.mark.parametrize("key", [None, make_key("RSA-2048"), make_key("P-224", 1000)])
def test_no_key_is_asked_for_where_nothing_could_be_compared(
    key: Key | None, fixed: type[Fixed]
) -> None:
    assert "ecdsa-not-proven" in codes(found(contents(config(5), key=key), keys=fixed()))
    assert "ecdsa-not-proven" in codes(found(contents(), keys=fixed()))
    assert fixed.asked == ()


def test_no_secret_is_told(fixed: type[Fixed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixed, "answer", Lookup(scalar(P256), "block X"))
    sources = [contents(config(5), data=data) for data in (*LEAKED.values(), b"secret")]
    told = " ".join(repr(finding) for one in sources for finding in found(one, keys=fixed()))
    value = int.from_bytes(scalar(P256), "big")
    secrets = [scalar(P256).hex(), str(value), "secret", key_bytes(P256)[30:60].decode()]
    assert told
    assert [secret for secret in secrets if secret in told] == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from([kinds.PRIVATE_KEY, kinds.SECURITY_CONFIG, kinds.DEVICE_CERT]),
            st.binary(max_size=60),
            st.integers(0, 2),
            st.sampled_from([0, 8, 0x88, 0x48]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([None, *CHIPS.values()]),
)
@settings(deadline=None, max_examples=60)
def test_any_entries_have_an_answer(entries: list[tuple[str, bytes, int, int]], chip: Any) -> None:
    for finding in found(tlv_image(*[entry(*one) for one in entries]), chip=chip):
        assert finding.offset is not None
        assert finding.item is not None
