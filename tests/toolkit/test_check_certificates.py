"""`espcert.checks.certificates`: each certificate by itself, and who vouches for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import real_image
from tests.toolkit import pki
from tests.toolkit.pki import Issued, make_ca, make_leaf
from tests.toolkit.test_certificates import ODD

from espcert import certificates, detection, hmac_peripheral, image
from espcert.checks import certificates as checked
from espcert.findings import Finding
from espcert.keys import Keys
from espcert_formats.items import Contents

ROOT_CA = make_ca("Root CA")
OTHER_CA = make_ca("Other CA")
TWIN_CA = make_ca("Root CA")
MIDDLE = make_ca("Middle CA", ROOT_CA)
LEAF = make_leaf(ROOT_CA)
DEEP_LEAF = make_leaf(MIDDLE, "deep device")
OWN = make_leaf(name="self-signed device")
HMAC_ENCRYPTED = 0x80


def contents_of(device: bytes | Sequence[bytes], *authorities: bytes) -> Contents:
    """A partition of device certificates and CAs, each kind at the indices 0, 1, ..."""
    devices = [device] if isinstance(device, bytes) else device
    return pki.tlv_image(
        *(pki.entry("device_cert", data, index) for index, data in enumerate(devices)),
        *(pki.entry("ca_cert", data, index) for index, data in enumerate(authorities)),
    )


def found_in(contents: Contents, **overrides: Any) -> list[Finding]:
    """What is found, each finding with the name and offset of an item that is there."""
    found = list(checked.check(pki.context(contents, **overrides)))
    offsets: dict[str, set[int]] = {}
    for item in contents.items:
        name = f"{item.kind}[{item.index}]" if item.index else item.kind
        offsets.setdefault(name, set()).add(item.offset)
    for finding in found:
        assert finding.item is not None
        assert finding.offset in offsets[finding.item]
        assert finding.message.startswith(f"{finding.item}: ")
        assert finding.message.isprintable()
        assert len(finding.message) < 1000
    return [finding for finding in found if finding.code != "issuer-proven"]


@pytest.mark.parametrize("chained", [False, True])
def test_who_issued_it_and_until_when(chained: bool) -> None:
    ca = make_ca("Other CA", ROOT_CA) if chained else ROOT_CA
    leaf = make_leaf(ca, "mine", until=2031)
    contents = contents_of(leaf.pem + (ca.pem if chained else b""), ROOT_CA.pem)
    (finding,) = checked.check(pki.context(contents))
    assert (finding.code, finding.item) == ("issuer-proven", "device_cert")
    for part in ("CN=mine", f"CN={'Other' if chained else 'Root'} CA", "2031"):
        assert part in finding.message


@pytest.mark.parametrize("authorities", [(), (make_ca("Root CA").pem,), (b"none",)])
def test_nothing_is_proven_without_the_issuer(authorities: tuple[bytes, ...]) -> None:
    found = checked.check(pki.context(contents_of(LEAF.pem, *authorities)))
    assert "issuer-proven" not in {finding.code for finding in found}


def test_an_expired_ca_file_is_told() -> None:
    old = make_ca("Old Root", until=2024)
    leaf = make_leaf(old, "mine")
    found = list(checked.check(pki.context(contents_of(leaf.pem), ca=(old.certificate,))))
    assert [one.code for one in found] == ["issuer-proven", "certificate-expired"]
    assert "Old Root" in found[1].message


@pytest.mark.parametrize(("allowed", "fits"), [(0, False), (1, True), (None, True)])
def test_path_length(allowed: int | None, fits: bool) -> None:
    constraint = x509.BasicConstraints(ca=True, path_length=allowed)
    root = make_ca("Narrow", ca=None, extensions=(constraint,))
    middle = make_ca("Middle", root)
    found = of_device(make_leaf(middle, "mine").pem, middle.pem, root.pem)
    assert found == ([] if fits else ["ca-not-a-ca"])


def codes(contents: Contents, **overrides: Any) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.item) for finding in found_in(contents, **overrides)]


def of_device(leaf: bytes, *authorities: bytes, ca: Sequence[Issued] | None = None) -> list[str]:
    """The codes that are found for a device certificate beside authorities."""
    trusted = None if ca is None else tuple(one.certificate for one in ca)
    found = codes(contents_of(leaf, *authorities), ca=trusted)
    assert all(item == "device_cert" for _, item in found)
    return [code for code, _ in found]


# --- Each certificate --------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\0", b"text", LEAF.pem[:-40], LEAF.der[:-1], b"\x30\0"])
@pytest.mark.parametrize("kind", ["device_cert", "ca_cert"])
def test_unreadable(kind: str, data: bytes) -> None:
    contents = pki.tlv_image(pki.entry("user_data_1", b"before"), pki.entry(kind, data, 2))
    (finding,) = found_in(contents)
    assert (finding.code, finding.item) == ("certificate-unreadable", f"{kind}[2]")
    assert f"{len(data)} bytes" in finding.message


@pytest.mark.parametrize("data", [LEAF.pem, LEAF.pem + b"\0", LEAF.der, LEAF.der + b"\0"])
def test_readable(data: bytes) -> None:
    assert codes(contents_of(data, ROOT_CA.pem)) == []


def test_der_that_ends_in_zeros_and_has_a_nul_behind() -> None:
    """A signature may end in zeros, which are no NULs: firmware parses by length."""
    for _ in range(10_000):
        leaf = make_leaf(ROOT_CA, "zeros", key=ROOT_CA.key)
        if leaf.der.endswith(b"\0"):
            break
    else:
        pytest.fail("none of them ends in a zero")
    assert codes(contents_of(leaf.der + b"\0", ROOT_CA.pem)) == []


def test_validity() -> None:
    old, new = make_ca("Old CA", until=2025), make_ca("New CA", since=2030)
    contents = contents_of(LEAF.pem, ROOT_CA.pem, old.pem, new.pem)
    expired, early = found_in(contents)
    assert (expired.code, expired.item) == ("certificate-expired", "ca_cert[1]")
    assert "expired on 2025-01-01" in expired.message
    assert (early.code, early.item) == ("certificate-not-yet-valid", "ca_cert[2]")
    assert "valid from 2030-01-01" in early.message
    assert expired.offset == pki.item_of(contents, "ca_cert", 1).offset
    assert early.offset == pki.item_of(contents, "ca_cert", 2).offset


def test_validity_ends_with_its_last_moment() -> None:
    last = datetime(2025, 1, 1, tzinfo=timezone.utc)
    contents = contents_of(OWN.pem, make_ca(until=2025).pem)
    assert codes(contents, at=last) == [("self-signed", "device_cert")]
    assert ("certificate-expired", "ca_cert") in codes(contents, at=last + timedelta(seconds=1))
    first = datetime(2020, 1, 1, tzinfo=timezone.utc)
    assert codes(contents, at=first) == [("self-signed", "device_cert")]
    assert ("certificate-not-yet-valid", "ca_cert") in codes(
        contents, at=first - timedelta(seconds=1)
    )


def test_every_certificate_of_a_chain_is_looked_at() -> None:
    old = make_ca("Old\x1b[2J CA", ROOT_CA, until=2025)
    leaf = make_leaf(old)
    (finding,) = found_in(contents_of(leaf.pem + old.pem + ROOT_CA.pem + b"\0"))
    assert finding.code == "certificate-expired"
    assert finding.message == (
        "device_cert: certificate 2 of 3 (CN=Old\\x1b[2J CA): "
        "expired on 2025-01-01, checked for 2026-06-01"
    )


@pytest.mark.parametrize(
    ("kind", "is_weak"),
    [
        *(("RSA-1024", True), ("RSA-2048", False), ("P-192", True), ("P-224", False)),
        ("Ed25519", False),
    ],
)
def test_weak_keys(kind: str, is_weak: bool) -> None:
    leaf = make_leaf(ROOT_CA, key=pki.make_key(kind))
    found = found_in(contents_of(leaf.pem, ROOT_CA.pem))
    assert [finding.code for finding in found] == (["weak-key"] if is_weak else [])
    if is_weak:
        assert kind.split("-")[1] in found[0].message


def test_weak_keys_of_authorities() -> None:
    weak = make_ca("Weak CA", key=pki.make_key("RSA-1024"))
    contents = contents_of(make_leaf(weak).pem, weak.pem)
    assert codes(contents) == [("weak-key", "ca_cert")]


# --- Digests -----------------------------------------------------------------------------------

RSA_CA = make_ca("RSA CA", key=pki.make_key("RSA-2048", 1))
RSA_DIGESTS = {4: hashes.MD5(), 5: hashes.SHA1(), 11: hashes.SHA256(), 12: hashes.SHA384()}
ECDSA_SHA1 = pki.tagged(0x30, bytes.fromhex("06072a8648ce3d0401"))


def rsa_algorithm(number: int) -> bytes:
    """pkcs-1 `number` as an AlgorithmIdentifier. Source: RFC 8017, appendix C."""
    return pki.tagged(0x30, bytes.fromhex("06092a864886f70d0101") + bytes((number, 5, 0)))


def rsa_signed(of: Issued, number: int) -> bytes:
    return pki.edited(
        of,
        RSA_CA.key,
        pki.unchanged,
        algorithm=rsa_algorithm(number),
        digest=RSA_DIGESTS.get(number),
    )


@pytest.mark.parametrize(
    ("number", "expected"), [(4, ["weak-digest"]), (5, ["weak-digest"]), (11, []), (12, [])]
)
def test_weak_digests(number: int, expected: list[str]) -> None:
    """The signature counts all the same: a library that refuses SHA-1 does not make it wrong."""
    leaf = rsa_signed(make_leaf(RSA_CA), number)
    assert of_device(leaf, RSA_CA.der) == expected
    assert of_device(leaf, RSA_CA.der, ca=[RSA_CA]) == expected


def test_weak_digest_of_an_intermediate() -> None:
    middle = make_ca("Middle of RSA CA", RSA_CA)
    contents = contents_of(make_leaf(middle).pem, rsa_signed(middle, 5), RSA_CA.pem)
    (finding,) = found_in(contents)
    assert (finding.code, finding.item) == ("weak-digest", "ca_cert")
    assert "SHA-1" in finding.message


def test_pss() -> None:
    padded = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    leaf = make_leaf(RSA_CA, rsa_padding=padded)
    assert of_device(leaf.pem, RSA_CA.pem) == []
    twin = make_ca("RSA CA", key=pki.make_key("RSA-2048", 2))
    assert of_device(leaf.pem, twin.pem) == ["issuer-signature"]


def test_weak_digest_over_ecdsa() -> None:
    leaf = pki.edited(LEAF, ROOT_CA.key, pki.unchanged, algorithm=ECDSA_SHA1, digest=hashes.SHA1())
    assert of_device(leaf, ROOT_CA.pem) == ["weak-digest"]


@pytest.mark.parametrize("number", [4, 5])
def test_a_root_may_be_signed_over_what_it_likes(number: int) -> None:
    root = rsa_signed(RSA_CA, number)
    assert codes(contents_of(make_leaf(RSA_CA).pem, root)) == []
    assert of_device(root) == ["self-signed"]


def test_a_weak_digest_counts_where_the_own_name_is_not_the_own_key() -> None:
    fake = make_ca("RSA CA", RSA_CA, key=pki.make_key("RSA-2048", 2))
    assert codes(contents_of(LEAF.pem, ROOT_CA.pem, rsa_signed(fake, 5))) == [
        ("weak-digest", "ca_cert[1]")
    ]


# --- Key usage ---------------------------------------------------------------------------------

ANY_PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ((), []),
        ((pki.usage("digital_signature"), pki.CLIENT), []),
        ((pki.usage("digital_signature", "key_agreement"), BOTH), []),
        ((ANY_PURPOSE,), []),
        ((pki.usage("key_agreement"),), ["digitalSignature"]),
        ((pki.SERVER,), ["clientAuth"]),
        ((pki.usage("key_cert_sign"), pki.SERVER), ["digitalSignature", "clientAuth"]),
    ],
)
def test_key_usage(extensions: tuple[x509.ExtensionType, ...], words: list[str]) -> None:
    leaf = make_leaf(ROOT_CA, extensions=extensions)
    found = found_in(contents_of(leaf.pem, ROOT_CA.pem))
    assert [finding.code for finding in found] == ["key-usage"] * len(words)
    assert all(word in finding.message for word, finding in zip(words, found, strict=True))


def test_key_usage_matters_in_leaves_only() -> None:
    issuing = make_ca("Issuing CA", ROOT_CA, extensions=(pki.usage("key_cert_sign"), pki.SERVER))
    contents = contents_of(make_leaf(issuing).pem + issuing.pem, issuing.pem)
    assert codes(contents) == []


def with_extensions(of: Issued, signer: Issued, *values: bytes) -> bytes:
    """A certificate with other extensions, each a DER element."""
    listed = pki.tagged(0xA3, pki.tagged(0x30, b"".join(values)))
    return pki.edited(of, signer.key, lambda fields: [*fields[:7], listed])


def extension(number: int, value: bytes) -> bytes:
    """id-ce `number`: 15 keyUsage, 19 basicConstraints, 37 extendedKeyUsage."""
    return pki.tagged(0x30, bytes((6, 3, 0x55, 0x1D, number)) + pki.tagged(4, value))


MALFORMED = [
    (extension(15, b"\x03\x02"),),
    (extension(15, b"\x03\x01\x00"),) * 2,
    (extension(37, b"\x30\x03\x06\x01"),),
    (extension(19, b"\x30\x06\x01\x01\xff\x02\x01\xff"),),
    (extension(17, b"\x30\x04\x87\x02\x01\x02"),),
    (b"\x30\x00",),
    (),
]


@pytest.mark.parametrize("values", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_extensions_are_absent(values: tuple[bytes, ...]) -> None:
    found = of_device(with_extensions(LEAF, ROOT_CA, *values), ROOT_CA.pem)
    assert found in ([], ["certificate-unreadable"])
    broken_ca = with_extensions(ROOT_CA, ROOT_CA, *values)
    found = of_device(LEAF.pem, broken_ca) if certificates.parse(broken_ca) else ["ca-not-a-ca"]
    assert found == ["ca-not-a-ca"]


# --- Chains without --ca -----------------------------------------------------------------------


def test_issued_by_a_ca_of_the_partition() -> None:
    assert of_device(LEAF.pem, ROOT_CA.pem) == []
    assert of_device(LEAF.pem, OTHER_CA.pem, ROOT_CA.der) == []
    assert of_device(LEAF.pem, OTHER_CA.pem + ROOT_CA.pem) == []


def test_issuer_missing() -> None:
    for authorities in ((), (OTHER_CA.pem,)):
        (finding,) = found_in(contents_of(LEAF.pem, *authorities))
        assert (finding.code, finding.item) == ("issuer-missing", "device_cert")
        assert "CN=Root CA" in finding.message


def test_issuer_signature() -> None:
    (finding,) = found_in(contents_of(LEAF.pem, TWIN_CA.pem))
    assert (finding.code, finding.item) == ("issuer-signature", "device_cert")
    assert "CN=Root CA" in finding.message
    assert of_device(LEAF.pem, TWIN_CA.pem, ROOT_CA.pem) == []
    assert of_device(LEAF.pem, ROOT_CA.pem, TWIN_CA.pem) == []


def test_a_wrong_ca_of_the_openssl_command(tmp_path: Path) -> None:
    """Also where another tool made the CA with the same name and another key."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 9999 "
        "-utf8 -subj"
    )
    try:
        subprocess.run(
            [*command.split(), "/CN=Root CA"], cwd=tmp_path, check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("the command openssl is not here")
    made = (tmp_path / "ca.pem").read_bytes()
    at = datetime.now(timezone.utc) + timedelta(days=1)
    assert codes(contents_of(LEAF.pem, made), at=at) == [("issuer-signature", "device_cert")]


@pytest.mark.parametrize(
    ("device", "authorities"),
    [
        (DEEP_LEAF.pem + MIDDLE.pem, [ROOT_CA.pem]),
        (DEEP_LEAF.pem + ROOT_CA.pem + MIDDLE.pem, []),
        (DEEP_LEAF.pem, [MIDDLE.pem + ROOT_CA.pem]),
        (DEEP_LEAF.pem, [ROOT_CA.pem, MIDDLE.pem]),
        (DEEP_LEAF.pem + MIDDLE.pem, []),
        (DEEP_LEAF.pem, [MIDDLE.pem]),
        (DEEP_LEAF.pem + MIDDLE.pem, [OTHER_CA.pem]),
    ],
)
def test_chains(device: bytes, authorities: list[bytes]) -> None:
    """Also those that end at an intermediate, without their root."""
    assert of_device(device, *authorities) == []


def test_a_chain_that_lacks_its_intermediate() -> None:
    (finding,) = found_in(contents_of(DEEP_LEAF.pem, ROOT_CA.pem))
    assert finding.code == "issuer-missing"
    assert "CN=Middle CA" in finding.message


def test_the_signature_of_an_intermediate() -> None:
    (finding,) = found_in(contents_of(DEEP_LEAF.pem + MIDDLE.pem, TWIN_CA.pem))
    assert finding.code == "issuer-signature"
    assert "CN=Middle CA" in finding.message
    assert "CN=Root CA" in finding.message


def test_one_good_path_is_enough() -> None:
    """The intermediate exists twice: signed by a CA at hand, and by none with that key."""
    cross = make_ca("Middle CA", TWIN_CA, key=MIDDLE.key)
    assert of_device(DEEP_LEAF.pem, MIDDLE.pem, cross.pem, TWIN_CA.pem) == []
    assert of_device(DEEP_LEAF.pem, cross.pem, MIDDLE.pem, ROOT_CA.pem) == []
    assert of_device(DEEP_LEAF.pem, MIDDLE.pem, TWIN_CA.pem) == ["issuer-signature"]


def test_authorities_that_vouch_for_each_other() -> None:
    one, two = pki.make_key("P-256", 101), pki.make_key("P-256", 102)
    first = make_ca("One", make_ca("Two", key=two), key=one)
    second = make_ca("Two", make_ca("One", key=one), key=two)
    leaf = make_leaf(first)
    assert of_device(leaf.pem, first.pem, second.pem) == []
    assert of_device(leaf.pem, first.pem, second.pem, ca=[ROOT_CA]) == ["not-issued-by-ca"]


def limited(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> list[None]:
    """Let a function of `certificates` be called so many times, and then fail the test."""
    calls: list[None] = []
    real = getattr(certificates, name)

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) > limit:
            pytest.fail(f"{name} was called more than {limit} times")
        return real(*arguments)

    monkeypatch.setattr(certificates, name, counted)
    return calls


@pytest.mark.parametrize("number", [1, 20, 150])
@pytest.mark.parametrize("ca", [None, [OTHER_CA]])
def test_hostile_repetition_is_bounded(
    number: int, ca: list[Issued] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many authorities with one name and one key, which signed them all: all vouch for all."""
    key = pki.make_key("P-256", 103)
    root = make_ca("Many", key=key)
    twins = [make_ca("Many", root, key=key).pem for _ in range(number)]
    devices = [make_leaf(root, f"device {place}").pem for place in range(20)]
    contents = contents_of(devices, *twins)
    signatures = limited(monkeypatch, "is_signed_by", 1100)
    limited(monkeypatch, "may_issue", 20 * 200)
    trusted = None if ca is None else tuple(one.certificate for one in ca)
    found = codes(contents, ca=trusted)
    assert len(signatures) >= 20
    assert {code for code, _ in found} <= {"issuer-missing", "not-issued-by-ca"}
    assert bool(found) == (number == 150 or ca is not None)


def test_many_authorities_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not tried is not said to be wrong."""
    twins = [make_ca("Root CA").pem for _ in range(checked.MAX_NAMESAKES)]
    signatures = limited(monkeypatch, "is_signed_by", 2 * checked.MAX_NAMESAKES)
    assert of_device(LEAF.pem, *twins) == ["issuer-signature"]
    signatures.clear()
    assert of_device(LEAF.pem, *twins[1:], ROOT_CA.pem) == []
    signatures.clear()
    (finding,) = found_in(contents_of(LEAF.pem, *twins, TWIN_CA.pem, ROOT_CA.pem))
    assert finding.code == "issuer-missing"
    assert "cannot be verified" in finding.message


def test_a_chain_longer_than_any_firmware_takes() -> None:
    chain = [make_ca("0")]
    for number in range(1, 30):
        chain.append(make_ca(str(number), chain[-1]))
    leaf = make_leaf(chain[-1])
    pem = b"".join(one.pem for one in (leaf, *reversed(chain)))
    assert of_device(pem) == []
    assert of_device(pem, ca=[chain[0]]) == ["not-issued-by-ca"]
    assert of_device(pem, ca=[chain[-4]]) == []


def test_each_device_certificate_has_its_own_chain() -> None:
    contents = contents_of([LEAF.pem, OWN.pem, make_leaf(OTHER_CA).pem], ROOT_CA.pem)
    assert codes(contents) == [
        ("self-signed", "device_cert[1]"),
        ("issuer-missing", "device_cert[2]"),
    ]


def test_intermediates_of_another_item_are_not_presented() -> None:
    """A device presents the certificates of one item; those of another do not help it."""
    contents = contents_of([DEEP_LEAF.pem, DEEP_LEAF.pem + MIDDLE.pem], ROOT_CA.pem)
    assert codes(contents) == [("issuer-missing", "device_cert")]


# --- Names -------------------------------------------------------------------------------------

PRINTABLE, UTF8 = 0x13, 0x0C


def named(tag: int, text: str) -> bytes:
    """A name of one common name, in a type of string of one's choice."""
    common_name = bytes.fromhex("0603550403") + pki.tagged(tag, text.encode())
    return pki.tagged(0x30, pki.tagged(0x31, pki.tagged(0x30, common_name)))


def leaf_of(issuer: bytes) -> bytes:
    """The device certificate with another issuer's name."""
    return pki.edited(LEAF, ROOT_CA.key, lambda fields: [*fields[:3], issuer, *fields[4:]])


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        (named(UTF8, "Root CA"), []),
        (named(PRINTABLE, "Root CA"), []),
        (named(PRINTABLE, "ROOT ca"), []),
        (named(UTF8, " Root  CA "), []),
        (named(UTF8, "RootCA"), ["issuer-missing"]),
        (named(UTF8, "Root CA")[:-1] + b"B", ["issuer-missing"]),
        (pki.tagged(0x30, b""), ["issuer-missing"]),
    ],
)
def test_names_that_x509_takes_for_the_same(issuer: bytes, expected: list[str]) -> None:
    """Tools differ in the type of string in which they write one and the same name."""
    assert of_device(leaf_of(issuer), ROOT_CA.pem) == expected


def test_names_that_cannot_be_read() -> None:
    broken = named(UTF8, "Root CA").replace(b"Root", b"\xff\xfe\xff\xfe")
    (finding,) = found_in(contents_of(leaf_of(broken), ROOT_CA.pem))
    assert finding.code == "issuer-missing"
    assert "cannot be read" in finding.message


def test_hostile_names_are_cut_and_printable() -> None:
    name = "\x1b]0;" + "x" * 60
    leaf = make_leaf(make_ca("CA"), issuer=name)
    (finding,) = found_in(contents_of(leaf.pem))
    assert "CN=\\x1b]0" in finding.message
    assert finding.message.count("x" * 10) <= 9


def test_no_name_at_all() -> None:
    nameless = make_ca("")
    (finding,) = found_in(contents_of(make_leaf(nameless).pem))
    assert finding.code == "issuer-missing"
    assert "an empty name" in finding.message
    assert of_device(make_leaf(nameless).pem, nameless.pem) == []


# --- Self-signed -------------------------------------------------------------------------------


def test_self_signed() -> None:
    (finding,) = found_in(contents_of(OWN.pem))
    assert (finding.code, finding.item) == ("self-signed", "device_cert")
    assert "CN=self-signed device" in finding.message
    assert of_device(OWN.pem, ROOT_CA.pem) == ["self-signed"]


def test_self_signed_beside_a_ca_of_the_same_name() -> None:
    twin = make_ca("self-signed device")
    assert of_device(OWN.pem, twin.pem) == ["self-signed"]
    assert of_device(OWN.pem, OWN.pem) == ["self-signed"]


def test_self_signed_with_ca() -> None:
    assert of_device(OWN.pem, ca=[ROOT_CA, OWN]) == ["self-signed"]
    foreign = ["self-signed", "not-issued-by-ca"]
    assert of_device(OWN.pem, ca=[ROOT_CA]) == foreign
    assert of_device(OWN.pem, OWN.pem, ca=[ROOT_CA]) == foreign
    assert of_device(OWN.pem, ca=[make_ca("self-signed device")]) == foreign


def test_issued_by_another_key_of_the_own_name() -> None:
    twin = make_leaf(TWIN_CA, "Root CA")
    assert of_device(twin.pem, TWIN_CA.pem) == []
    assert of_device(twin.pem, ROOT_CA.pem) == ["issuer-signature"]
    assert of_device(twin.pem) == ["issuer-signature"]


def test_a_damaged_self_signed_certificate() -> None:
    damaged = bytearray(OWN.der)
    damaged[-1] ^= 1
    (finding,) = found_in(contents_of(bytes(damaged)))
    assert finding.code == "issuer-signature"


def test_the_signature_of_a_root_does_not_matter() -> None:
    damaged = bytearray(ROOT_CA.der)
    damaged[-1] ^= 1
    assert of_device(LEAF.pem, bytes(damaged)) == []
    assert of_device(LEAF.pem, bytes(damaged), TWIN_CA.pem) == []


# --- With --ca ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "authorities", "ca", "expected"),
    [
        (LEAF.pem, [], [ROOT_CA], []),
        (LEAF.pem, [OTHER_CA.pem], [OTHER_CA, ROOT_CA], []),
        (LEAF.pem, [ROOT_CA.pem], [OTHER_CA], ["not-issued-by-ca"]),
        (LEAF.pem, [], [OTHER_CA], ["not-issued-by-ca"]),
        (LEAF.pem, [ROOT_CA.pem], [TWIN_CA], ["not-issued-by-ca"]),
        (LEAF.pem, [], [TWIN_CA], ["issuer-signature"]),
        (LEAF.pem, [], [TWIN_CA, ROOT_CA], []),
        (DEEP_LEAF.pem, [], [MIDDLE, ROOT_CA], []),
        (DEEP_LEAF.pem, [], [MIDDLE], []),
        (DEEP_LEAF.pem, [MIDDLE.pem], [ROOT_CA], []),
        (DEEP_LEAF.pem + MIDDLE.pem, [], [ROOT_CA], []),
        (DEEP_LEAF.pem, [], [ROOT_CA], ["not-issued-by-ca"]),
        (DEEP_LEAF.pem + MIDDLE.pem, [], [OTHER_CA], ["not-issued-by-ca"]),
        (DEEP_LEAF.pem + MIDDLE.pem, [], [TWIN_CA], ["issuer-signature"]),
        (LEAF.pem, [ROOT_CA.pem], [LEAF], ["not-issued-by-ca"]),
    ],
)
def test_with_ca(
    device: bytes, authorities: list[bytes], ca: list[Issued], expected: list[str]
) -> None:
    assert of_device(device, *authorities, ca=ca) == expected


def test_with_ca_names_what_was_looked_for() -> None:
    contents = contents_of(LEAF.pem)
    five = tuple(make_ca(f"CA {number}").certificate for number in range(5))
    (finding,) = found_in(contents, ca=five)
    assert "CN=Root CA" in finding.message
    assert "CN=CA 0, CN=CA 1, CN=CA 2 and 2 more" in finding.message
    assert finding.offset == pki.item_of(contents, "device_cert").offset


def test_a_renewed_root_of_the_same_key() -> None:
    renewed = make_ca("Root CA", key=ROOT_CA.key, since=2025)
    assert of_device(LEAF.pem, ROOT_CA.pem, ca=[renewed]) == []
    assert of_device(DEEP_LEAF.pem + MIDDLE.pem, ROOT_CA.pem, ca=[renewed]) == []


def test_without_a_device_certificate() -> None:
    contents = pki.tlv_image(pki.entry("ca_cert", ROOT_CA.pem))
    assert codes(contents, ca=(OTHER_CA.certificate,)) == []


# --- Authorities that are none -----------------------------------------------------------------


@pytest.mark.parametrize(
    "plain",
    [
        make_ca("Plain CA", ca=False),
        make_ca("Plain CA", ca=None),
        make_ca("Plain CA", extensions=(pki.usage("digital_signature"),)),
    ],
    ids=["denied", "unmarked", "key usage"],
)
def test_ca_not_a_ca(plain: Issued) -> None:
    leaf = make_leaf(plain)
    (finding,) = found_in(contents_of(leaf.pem, plain.pem))
    assert (finding.code, finding.item) == ("ca-not-a-ca", "device_cert")
    assert "CN=Plain CA" in finding.message
    assert of_device(leaf.pem, ca=[plain]) == ["ca-not-a-ca"]
    assert of_device(leaf.pem, plain.pem, ca=[OTHER_CA]) == ["not-issued-by-ca"]


def test_an_authority_with_key_usage() -> None:
    fit = make_ca("Fit CA", extensions=(pki.usage("key_cert_sign", "crl_sign"),))
    assert of_device(make_leaf(fit).pem, fit.pem) == []


def test_ca_not_a_ca_further_up() -> None:
    plain = make_ca("Plain middle", ROOT_CA, ca=False)
    below = make_ca("Below", plain)
    chain = make_leaf(below).pem + below.pem + plain.pem
    for ca in (None, [ROOT_CA]):
        assert of_device(chain, ROOT_CA.pem, ca=ca) == ["ca-not-a-ca"]


def test_a_path_of_real_authorities_is_preferred() -> None:
    key = pki.make_key("P-256", 104)
    plain, real = make_ca("Twice", ROOT_CA, key=key, ca=False), make_ca("Twice", ROOT_CA, key=key)
    leaf = make_leaf(real)
    for authorities in ([plain, real], [real, plain]):
        pems = [one.pem for one in authorities]
        assert of_device(leaf.pem, *pems, ROOT_CA.pem) == []
        assert of_device(leaf.pem, *pems, ca=[ROOT_CA]) == []


def version_1(of: Issued, signer: Issued) -> bytes:
    """A certificate without a version and without extensions."""
    return pki.edited(of, signer.key, lambda fields: fields[1:7])


def test_roots_of_version_1_are_authorities() -> None:
    """mbedTLS and OpenSSL accept them where they are trusted."""
    old = version_1(ROOT_CA, ROOT_CA)
    assert of_device(LEAF.pem, old) == []
    assert of_device(version_1(LEAF, ROOT_CA), old) == []
    assert of_device(DEEP_LEAF.pem, version_1(MIDDLE, ROOT_CA), ROOT_CA.pem) == ["ca-not-a-ca"]


# --- What cannot be told -----------------------------------------------------------------------


def test_unknown_algorithms_are_no_wrong_signatures() -> None:
    leaf = rsa_signed(make_leaf(RSA_CA), 0x7F)
    (finding,) = found_in(contents_of(leaf, RSA_CA.pem))
    assert finding.code == "issuer-missing"
    assert "cannot be verified" in finding.message
    assert of_device(leaf, ca=[RSA_CA]) == ["issuer-missing"]
    assert of_device(rsa_signed(RSA_CA, 0x7F)) == ["issuer-missing"]
    middle = make_ca("Middle of RSA CA", RSA_CA)
    odd_middle = rsa_signed(middle, 0x7F)
    assert of_device(make_leaf(middle).pem, odd_middle, RSA_CA.pem) == []


def test_an_unknown_kind_of_key() -> None:
    unknown = pki.tagged(0x30, pki.tagged(0x30, b"\x06\x03\x2a\x03\x04") + b"\x03\x02\0\1")
    odd = pki.edited(ROOT_CA, ROOT_CA.key, lambda fields: [*fields[:6], unknown, *fields[7:]])
    assert of_device(LEAF.pem, odd) == ["issuer-missing"]
    assert of_device(LEAF.pem, odd, ROOT_CA.pem) == []


def test_exponents_that_take_long_are_not_tried() -> None:
    huge = pki.tagged(2, b"\x7f" * 250)
    modulus = children_of_key(RSA_CA)[0]

    def edit(fields: list[bytes]) -> list[bytes]:
        algorithm = pki.children(fields[6])[0]
        key = pki.tagged(3, b"\0" + pki.tagged(0x30, modulus + huge))
        return [*fields[:6], pki.tagged(0x30, algorithm + key), *fields[7:]]

    odd = pki.edited(RSA_CA, RSA_CA.key, edit)
    assert certificates.key_of(certificates.parse(odd)[0]) is not None
    assert of_device(make_leaf(RSA_CA).pem, odd) == ["issuer-missing"]


def children_of_key(issued: Issued) -> list[bytes]:
    """Modulus and exponent of an RSA certificate."""
    encoded = issued.key.public_key().public_bytes(pki.DER, PublicFormat.PKCS1)
    return pki.children(encoded)


def test_a_key_of_another_kind_signed_nothing() -> None:
    other = make_ca("Root CA", key=pki.make_key("RSA-2048", 3))
    assert of_device(LEAF.pem, other.pem) == ["issuer-signature"]


def test_ed25519() -> None:
    ca = make_ca("Ed CA", key=pki.make_key("Ed25519", 1))
    assert of_device(make_leaf(ca).pem, ca.pem) == []
    twin = make_ca("Ed CA", key=pki.make_key("Ed25519", 2))
    assert of_device(make_leaf(ca).pem, twin.pem) == ["issuer-signature"]


# --- What is not looked at ---------------------------------------------------------------------


def test_damaged_items_are_skipped() -> None:
    assert codes(pki.tlv_image(pki.entry("device_cert", b"text"), damaged=True)) == []
    entries = [pki.entry("device_cert", LEAF.pem), pki.entry("ca_cert", ROOT_CA.pem)]
    contents = pki.tlv_image(*entries, damaged=True)
    assert codes(contents) == [("issuer-missing", "device_cert")]


def test_encrypted_entries_are_judged_by_what_they_open_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contents = pki.tlv_image(pki.entry("device_cert", bytes(64), flags=HMAC_ENCRYPTED))
    assert codes(contents) == []
    cases: list[tuple[bytes | None, list[str]]] = [
        (OWN.pem, ["self-signed"]),
        (b"text", ["certificate-unreadable"]),
        (None, []),
    ]
    for opened, expected in cases:
        monkeypatch.setattr(hmac_peripheral, "open_entry", lambda _key, _data, it=opened: it)
        found = codes(contents, keys=Keys(bytes(32)))
        assert found == [(code, "device_cert") for code in expected]


# --- Silence and hostility ---------------------------------------------------------------------

SEVERAL_ODD: dict[str, bytes] = {
    **ODD,
    "time without seconds": pki.edited(
        LEAF,
        ROOT_CA.key,
        lambda fields: [*fields[:4], pki.tagged(0x30, b"\x17\x0b2001010000Z" * 2), *fields[5:]],
    ),
    "RSA with a serial of zero": pki.edited(
        RSA_CA, RSA_CA.key, lambda fields: [fields[0], b"\x02\x01\x00", *fields[2:]]
    ),
    "RSA without its NULL": pki.edited(
        RSA_CA,
        RSA_CA.key,
        pki.unchanged,
        algorithm=pki.tagged(0x30, bytes.fromhex("06092a864886f70d01010b")),
    ),
    "bad country": pki.edited(
        OWN,
        OWN.key,
        lambda fields: [
            *fields[:5],
            pki.tagged(
                0x30, pki.tagged(0x31, pki.tagged(0x30, b"\x06\x03\x55\x04\x06\x13\x03DEU"))
            ),
            *fields[6:],
        ],
    ),
}

SCRIPT = """
import sys
from pathlib import Path
from espcert import detection, image
from espcert.checks import certificates
from espcert.checks.context import Context
from datetime import datetime, timezone
at = datetime(2026, 6, 1, tzinfo=timezone.utc)
for path in sorted(Path(sys.argv[1]).iterdir()):
    contents = detection.detect(image.locate(path.read_bytes())).require()
    given = tuple(certificates.certificates.parse(contents.items[0].data)) or None
    for ca in (None, given):
        print(path.name, *(f.code for f in certificates.check(Context(contents, at, ca=ca))))
"""


def test_odd_certificates_print_nothing(tmp_path: Path) -> None:
    """In a process of its own, with all warnings on: what is caught here is printed there."""
    from espcert_formats import tlv

    for name, data in SEVERAL_ODD.items():
        entries = [pki.entry(kind, data) for kind in ("device_cert", "ca_cert")]
        (tmp_path / name.replace(" ", "_")).write_bytes(tlv.chain(entries))
    command = [sys.executable, "-W", "always", "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2 * len(SEVERAL_ODD)
    assert "RSA_with_a_serial_of_zero self-signed" in done.stdout


@pytest.mark.parametrize("case", SEVERAL_ODD)
def test_odd_certificates_beside_good_ones(case: str) -> None:
    odd = SEVERAL_ODD[case]
    for contents in (
        contents_of(odd, odd, ROOT_CA.pem),
        contents_of(LEAF.pem, odd, ROOT_CA.pem),
    ):
        found_in(contents)
        found_in(contents, ca=(ROOT_CA.certificate, *certificates.parse(odd)))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_nothing_is_raised(data: st.DataObject) -> None:
    """A good certificate with some bytes changed."""
    spoilt = []
    for good in (LEAF.der, ROOT_CA.der):
        changed = bytearray(good)
        for _ in range(data.draw(st.integers(0, 3))):
            changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        spoilt.append(bytes(changed))
    contents = contents_of(spoilt[0], spoilt[1])
    found_in(contents)
    found_in(contents, ca=(ROOT_CA.certificate,))


@given(st.binary(max_size=100))
def test_nothing_is_raised_by_noise(data: bytes) -> None:
    for start in (b"", b"\x30\x20", b"-----BEGIN CERTIFICATE-----\n"):
        found_in(contents_of(start + data))


# --- Real images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cust_flash_tlv", [("self-signed", "device_cert", 0x0C)]),
        (
            "cust_flash",
            [
                ("certificate-expired", "ca_cert", 0x840),
                ("self-signed", "device_cert", 0x40),
            ],
        ),
        ("nvs", [("certificate-expired", "device_cert", 0x480)]),
        ("tlv_signed", []),
        ("tlv_rsa_ds_c3", [("issuer-missing", "device_cert", 0x50C)]),
        ("cust_flash_rsa_ds_c3", []),
        ("cust_flash_legacy_rsa_ds_s2", []),
        ("nvs_esp_ds_c3", []),
    ],
)
def test_real_images(name: str, expected: list[tuple[str, str, int]]) -> None:
    """In `cust_flash_tlv` a CA has the subject of the device certificate and another key."""
    data = real_image(f"{name}/partition.bin")
    found = found_in(detection.detect(image.locate(data)).require())
    assert [(one.code, one.item, one.offset) for one in found] == expected
