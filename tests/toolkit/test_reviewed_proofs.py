"""Faults that a review found in verifying, and in what migrating makes of its findings."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.tools.protection import hmac_encrypted
from tests.cli.runner import fixture, material, run
from tests.support import FIXTURES, crc, real_image
from tests.toolkit import pki

import espcert
from espcert import quiet, verification
from espcert.catalogue import ACCEPTABLE, AS_STORED, CATALOGUE
from espcert.errors import UsageError
from espcert.findings import Finding
from espcert.migration import Migration, Options, migrate
from espcert_formats import tlv
from espcert_formats.tlv import NewEntry

HMAC_KEY = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()
USER = 51
INTEGRITY = tlv.TYPE_INTEGRITY


def data_of(name: str) -> bytes:
    return (FIXTURES / "images" / f"{name}.bin").read_bytes()


def entries_of(name: str) -> list[NewEntry]:
    """A fixture's entries without its seals."""
    data = data_of(name)
    return [
        NewEntry(one.type, one.subtype, one.flags, data[one.data_offset :][: one.length])
        for one in tlv.walk(data)
        if one.type not in (tlv.TYPE_SIGNATURE, INTEGRITY)
    ]


def chain(entries: Iterable[NewEntry]) -> bytes:
    return b"".join(tlv.encode(one) for one in entries)


def sealed(body: bytes, digest_of: bytes | None = None) -> bytes:
    digest = hashlib.sha256(body if digest_of is None else digest_of).digest()
    return body + tlv.encode(NewEntry(INTEGRITY, 0, 0, digest))


def spoilt(entry: NewEntry) -> bytes:
    """An entry whose CRC is wrong."""
    data = bytearray(tlv.encode(entry))
    data[-1] ^= 1
    return bytes(data)


def migrated(data: bytes, *accept: str, **options: Any) -> Migration:
    reading = espcert.detect(espcert.locate(data))
    return migrate(reading, Options(accept=frozenset(accept), **options))


def blocking(result: Migration) -> set[str]:
    return {finding.code for finding in result.blocking}


def codes(data: bytes, **given: Any) -> set[str]:
    return {finding.code for finding in found(data, **given)}


def found(data: bytes, **given: Any) -> list[Finding]:
    return espcert.verify(espcert.detect(espcert.locate(data)), **given)


# --- Nothing altered gets a new seal unnamed ---------------------------------------------------


@pytest.mark.parametrize("option", ["--hmac-key", "--efuse", "--ca", "--key-password-file"])
def test_no_file_that_was_read_is_overwritten(option: str, tmp_path: Path) -> None:
    names = {
        "--hmac-key": material("hmac_key.bin"),
        "--efuse": str(FIXTURES / "efuse" / "esp32.token.txt"),
        "--ca": material("ec_ca.pem"),
        "--key-password-file": material("ec_device.password.txt"),
    }
    given = tmp_path / "given"
    given.write_bytes(Path(names[option]).read_bytes())
    done = run("migrate", fixture("tlv_ec"), option, given, "-o", given, "--force")
    assert done.code == 2
    assert "is the input" in done.err
    assert given.read_bytes() == Path(names[option]).read_bytes()


def test_leaving_a_signature_out_does_not_hide_that_it_did_not_match() -> None:
    data = bytearray(data_of("tlv_signed_p256"))
    entry = next(tlv.walk(bytes(data)))
    ca = pki.make_ca("Another CA").pem + b"\0"
    altered = tlv.encode(NewEntry(entry.type, 0, 0xFF, ca)) + bytes(data[entry.end :])
    assert "signature-lost" in blocking(migrated(altered))
    result = migrated(altered, "signature-lost", "integrity-mismatch")
    assert blocking(result) & {"signature-invalid", "signature-digest"}


def test_a_block_of_the_unreleased_form_that_is_kept_is_told() -> None:
    corrupt = real_image("tlv_signed/partition-corrupt.bin")
    accept = ("item-crc", "signature-lost")
    assert "signature-unreleased" in codes(corrupt)
    assert blocking(migrated(corrupt, *accept)) == {"signature-unreleased"}
    result = migrated(corrupt, *accept, "signature-unreleased")
    assert any("accepted: tee_key" in change for change in result.changes)


def test_damage_behind_an_integrity_entry_does_not_explain_its_mismatch() -> None:
    body = chain([NewEntry(USER, 0, 0, b"altered")])
    image = sealed(body, digest_of=b"as it was") + spoilt(NewEntry(52, 0, 0, b"damaged"))
    assert {"item-crc", "integrity-mismatch"} <= blocking(migrated(image))
    assert blocking(migrated(image, "item-crc")) == {"integrity-mismatch"}


def test_damage_before_an_integrity_entry_explains_its_mismatch_and_that_is_told() -> None:
    good, damaged = NewEntry(USER, 0, 0, b"good"), NewEntry(52, 0, 0, b"damaged")
    body = chain([good]) + spoilt(damaged)
    image = sealed(body, digest_of=chain([good, damaged]) + b"x")
    assert "integrity-mismatch" in codes(image)
    result = migrated(image, "item-crc")
    assert result.output is not None
    assert any("not checked, as damaged bytes" in change for change in result.changes)


def test_a_damaged_second_integrity_entry_does_not_hide_the_first() -> None:
    body = chain([NewEntry(USER, 0, 0, b"altered")])
    image = sealed(body, digest_of=b"as it was") + spoilt(NewEntry(INTEGRITY, 1, 0, bytes(32)))
    assert "integrity-mismatch" in codes(image)
    assert "integrity-mismatch" in blocking(migrated(image, "item-crc"))


def test_an_accepted_mismatch_is_sealed_anew() -> None:
    image = sealed(chain([NewEntry(USER, 0, 0, b"altered")]), digest_of=b"as it was")
    result = migrated(image.ljust(0x2000, b"\xff"), "integrity-mismatch")
    assert result.output is not None
    assert "integrity-valid" in codes(result.output)
    assert any("integrity entry remade" in change for change in result.changes)


def test_of_a_damaged_first_and_a_second_entry_neither_is_taken_unasked() -> None:
    first, second = (NewEntry(1, 0, 0, pki.make_leaf(name=n).pem + b"\0") for n in ("mine", "old"))
    image = spoilt(first) + tlv.encode(second) + tlv.encode(NewEntry(USER, 0, 0, b"x"))
    result = migrated(image, "item-crc", "duplicate-entry")
    assert result.contents is not None
    assert not result.contents.of_kind("device_cert")
    assert "missing-device-cert" in {finding.code for finding in result.findings}


def test_what_is_said_of_a_supplied_certificate_is_told_beside_the_same_of_another() -> None:
    old_ca = pki.make_ca("Old CA", until=2024)
    expired = pki.make_leaf(name="mine", until=2024)
    image = chain([NewEntry(0, 0, 0, old_ca.pem + b"\0")])
    result = migrated(image, device_cert=expired.pem)
    told = {finding.item for finding in result.findings if finding.code == "certificate-expired"}
    assert told == {"ca_cert", "device_cert"}


# --- The leaked key ----------------------------------------------------------------------------


def leaked(*others: NewEntry, key: bytes | None = None) -> bytes:
    """The fixture with the leaked key, with other entries and another key."""
    entries = entries_of("tlv_ecdsa_leaked_key")
    if key is not None:
        entries = [replace(one, data=key) if one.type == 2 else one for one in entries]
    kept = [one for one in entries if one.type not in {other.type for other in others}]
    return chain([*kept, *others])


def test_a_leaked_key_is_kept_where_the_user_says_so() -> None:
    result = migrated(leaked(), "leaked-key")
    assert result.contents is not None
    assert result.contents.of_kind("private_key")[0].data
    assert any("accepted" in change and "leaked-key" in change for change in result.changes)


@pytest.mark.parametrize("name", ["rsa_device.key", "rsa4096_device.key"])
def test_a_leaked_key_that_no_peripheral_holds_is_not_dropped(name: str) -> None:
    key = (FIXTURES / "inputs" / name).read_bytes() + b"\0"
    accepted = {"key-mismatch", "ecdsa-curve"}
    assert "leaked-key" in blocking(migrated(leaked(key=key), *accepted))


def test_a_leaked_key_of_which_anything_else_is_wrong_is_not_dropped() -> None:
    config = NewEntry(tlv.TYPE_SECURITY_CONFIG, 0, 0, bytes((1,)).ljust(40, b"\0"))
    assert blocking(migrated(leaked(config))) == {"leaked-key", "ecdsa-block"}
    assert blocking(migrated(leaked(config), "ecdsa-block")) == {"leaked-key"}


def test_a_leaked_key_in_a_signed_image_is_never_mended() -> None:
    from tests.toolkit import test_seals

    body = leaked()
    signed = body + tlv.encode(NewEntry(8, 0, 0, test_seals.sign_p256(body)))
    assert blocking(migrated(signed)) == {"leaked-key"}
    result = migrated(signed, "leaked-key")
    assert result.output is not None
    assert result.output.startswith(signed)


# --- What is no sound identity -----------------------------------------------------------------


@pytest.mark.parametrize("lead", [b"\0", b"text\0"])
def test_pem_behind_a_nul_is_no_certificate_for_mbedtls(lead: bytes) -> None:
    leaf = pki.make_leaf()
    image = chain([NewEntry(1, 0, 0, lead + leaf.pem + b"\0")])
    assert "certificate-unreadable" in codes(image)
    cut = chain([NewEntry(1, 0, 0, leaf.pem + b"\0" + leaf.pem + b"\0")])
    assert "pem-cut-by-nul" in codes(cut)
    assert "pem-cut-by-nul" not in codes(chain([NewEntry(1, 0, 0, leaf.pem + b"\0\0")]))


def test_a_label_that_mbedtls_does_not_know() -> None:
    odd = pki.make_leaf().pem.replace(b"CERTIFICATE", b"X509 CERTIFICATE")
    assert "certificate-unreadable" in codes(chain([NewEntry(1, 0, 0, odd + b"\0")]))


def test_a_key_among_certificates() -> None:
    key = (FIXTURES / "inputs" / "ec_device.key").read_bytes()
    image = chain([NewEntry(1, 0, 0, pki.make_leaf().pem + key + b"\0")])
    assert "key-misplaced" in codes(image)


@pytest.mark.parametrize("name", ["ec_device.key", "ec_device.key.der"])
def test_a_key_that_only_says_that_it_is_encrypted(name: str) -> None:
    key = (FIXTURES / "inputs" / name).read_bytes()
    for given in ({}, {"hmac_key": HMAC_KEY}):
        assert "hmac-not-opened" in codes(chain([NewEntry(2, 0, 0x80, key)]), **given)
    (told,) = [f for f in found(chain([NewEntry(2, 0, 0x40, key)])) if "carries" in f.code]
    assert "in plain text" in told.message
    assert "hmac-not-opened" in codes(chain([NewEntry(2, 0, 0x80, b"abc")]))


def test_a_security_config_alone() -> None:
    config = bytes((5,)).ljust(40, b"\0")
    assert "ecdsa-entry-missing" in codes(chain([NewEntry(6, 0, 0, config)]))
    assert "ecdsa-entry-missing" not in codes(data_of("tlv_ecdsa_peripheral"))


def test_one_key_file_serves_one_block() -> None:
    """A module with a DS key and an entry under HMAC_UP has two HMAC keys."""
    other = bytes(range(1, 33))
    note = hmac_encrypted(b"note", other)
    image = chain([*entries_of("tlv_ds_c3"), NewEntry(USER, 0, 0x80, note)])
    assert {"ds-proven", "hmac-not-proven"} <= codes(image, hmac_key=HMAC_KEY)
    assert {"ds-not-proven", "hmac-proven"} <= codes(image, hmac_key=other)
    for key in (HMAC_KEY, other):
        assert not {"ds-wrong-key", "hmac-not-opened"} & codes(image, hmac_key=key)
    assert {"ds-wrong-key", "hmac-not-opened"} <= codes(image, hmac_key=b"\1" * 32)


# --- Bounds, threads, words --------------------------------------------------------------------


def test_padding_of_a_secret_is_counted_and_not_shown() -> None:
    for kind, shown in ((2, False), (USER, False), (0, True)):
        entry = bytearray(tlv.encode(NewEntry(kind, 0, 0, b"12345")))
        entry[17:28] = b"secret pad!"
        entry[-4:] = crc(bytes(entry[:-4])).to_bytes(4, "little")
        told = " ".join(finding.message for finding in found(bytes(entry)))
        assert ("73 65 63 72 65 74" in told) is shown


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)

    def many() -> None:
        for _ in range(200):
            with quiet.no_warnings():
                quiet.quietly(lambda: None)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_key_of_zeros_is_none() -> None:
    with pytest.raises(UsageError):
        verification.means(hmac_key=bytes(32))


def test_means_and_its_parts_do_not_go_together() -> None:
    with pytest.raises(UsageError):
        Options(means=verification.means(), chip="esp32c3")


def test_standard_input_is_for_the_image() -> None:
    done = run("verify", "-", "--hmac-key", "-", stdin=data_of("tlv_ec"))
    assert (done.code, done.out) == (2, "")


def test_every_code_that_takes_an_item_as_it_is_says_so() -> None:
    assert {CATALOGUE[code].accepted for code in ACCEPTABLE} > {AS_STORED}
