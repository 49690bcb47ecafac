"""`espcert.checks.encoding`: the NUL that PEM needs and that DER does without."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support import real_image
from tests.toolkit import pki

from espcert import detection, hmac_peripheral, image
from espcert.checks import encoding
from espcert.keys import Keys
from espcert_formats.items import Contents

CA = pki.make_ca()
KEY = pki.make_key()
DER_KEY = pki.key_bytes(KEY, pki.DER)
HMAC_ENCRYPTED, HMAC_DERIVED, IN_PERIPHERAL = 0x80, 0x40, 0x08


def codes(contents: Contents, **overrides: object) -> list[tuple[str, str | None]]:
    found = list(encoding.check(pki.context(contents, **overrides)))
    for finding in found:
        assert finding.item is not None
        assert finding.message.startswith(f"{finding.item}: ")
    return [(finding.code, finding.item) for finding in found]


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("device_cert", CA.pem, "pem-without-nul"),
        ("ca_cert", CA.pem * 2, "pem-without-nul"),
        ("private_key", pki.key_bytes(KEY)[:-1], "pem-without-nul"),
        ("device_cert", CA.der + b"\0", "der-with-nul"),
        ("ca_cert", CA.der + b"\0\0\0", "der-with-nul"),
        ("private_key", DER_KEY + b"\0", "der-with-nul"),
    ],
)
def test_findings(kind: str, data: bytes, code: str) -> None:
    contents = pki.tlv_image(pki.entry("user_data_1", b"before"), pki.entry(kind, data, 3))
    (finding,) = encoding.check(pki.context(contents))
    assert (finding.code, finding.item) == (code, f"{kind}[3]")
    assert finding.offset == pki.item_of(contents, kind, 3).offset > 12


@pytest.mark.parametrize(
    "data",
    [
        *(CA.pem + b"\0", CA.pem + b"\0\0", CA.der, CA.der + b"\0x", CA.der + b"\xff", CA.der[:-1]),
        *(b"", b"\0", b"text", b"\x30", b"\x30\x80\0\0", b"\x30\x85\0", b"\x31\0\0"),
    ],
)
def test_nothing_to_say(data: bytes) -> None:
    assert codes(pki.tlv_image(pki.entry("device_cert", data))) == []


def test_a_nul_inside_der_is_part_of_it() -> None:
    """The last byte of a signature may be zero."""
    inside = pki.tagged(0x30, b"\x04\x02\x01\x00")
    assert codes(pki.tlv_image(pki.entry("ca_cert", inside))) == []
    assert codes(pki.tlv_image(pki.entry("ca_cert", inside + b"\0"))) == [
        ("der-with-nul", "ca_cert")
    ]


@given(st.binary(max_size=300), st.integers(0, 3))
@example(b"-----BEGIN CERTIFICATE-----", 1)
def test_der_of_any_length(body: bytes, nuls: int) -> None:
    data = pki.tagged(0x30, body) + bytes(nuls)
    expected = [("der-with-nul", "ca_cert")] if nuls else []
    assert codes(pki.tlv_image(pki.entry("ca_cert", data))) == expected


@given(st.binary(max_size=64))
def test_nothing_is_raised(data: bytes) -> None:
    for start in (b"", b"\x30", b"-----BEGIN "):
        codes(pki.tlv_image(pki.entry("private_key", start + data)))


def test_other_items_have_no_encoding() -> None:
    entries = [
        pki.entry("user_data_1", CA.pem),
        pki.entry("private_key", CA.pem, flags=HMAC_DERIVED),
        pki.entry("private_key", CA.pem, 1, flags=IN_PERIPHERAL),
        pki.entry("ecdsa_salt", CA.der + b"\0"),
    ]
    assert codes(pki.tlv_image(*entries)) == []


def test_damaged_items_are_skipped() -> None:
    assert codes(pki.tlv_image(pki.entry("ca_cert", CA.pem), damaged=True)) == []


@pytest.mark.parametrize("kind", ["device_cert", "private_key"])
def test_encrypted_entries_are_judged_by_what_they_open_to(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = pki.tlv_image(pki.entry(kind, bytes(64), flags=HMAC_ENCRYPTED))
    assert codes(contents) == []
    for opened, expected in ((CA.pem, [("pem-without-nul", kind)]), (None, []), (CA.der, [])):
        monkeypatch.setattr(hmac_peripheral, "open_entry", lambda _key, _data, it=opened: it)
        assert codes(contents, keys=Keys(bytes(32))) == expected


@pytest.mark.parametrize("name", ["cust_flash", "cust_flash_tlv", "nvs", "tlv_from_csv"])
def test_real_images_end_their_pem_with_a_nul(name: str) -> None:
    data = real_image(f"{name}/partition.bin")
    assert codes(detection.detect(image.locate(data)).require()) == []
