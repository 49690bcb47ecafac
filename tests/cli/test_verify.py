"""`espcert verify` as scripts and people meet it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.runner import fixture, material, run
from tests.support import FIXTURES, real_image

from espcert.catalogue import CATALOGUE
from espcert_formats import tlv

GOOD = fixture("tlv_ec")
DS = fixture("tlv_ds_c3")
KEY = material("hmac_key.bin")
AT = ("--at", "2026-06-01")


def test_a_sound_image_exits_with_0() -> None:
    found = run("verify", GOOD, *AT)
    assert found.code == 0
    assert found.err == ""
    assert found.out.splitlines()[-1].startswith("SOUND")


def test_json_has_all_of_detect_and_the_findings() -> None:
    detected = run("detect", "--json", GOOD).object
    found = run("verify", "--json", GOOD, *AT).object
    assert found["verdict"] == "ok"
    for finding in found["findings"]:
        assert set(finding) == {"code", "severity", "message", "item", "offset", "hint"}
        assert finding["severity"] == CATALOGUE[finding["code"]].severity
    assert found["proven"] is True
    for added in ("verdict", "proven", "findings"):
        found.pop(added)
    assert found == detected


def test_an_error_exits_with_1_and_says_what_to_do() -> None:
    found = run("verify", fixture("tlv_damaged_ca"), *AT)
    assert found.code == 1
    lines = found.out.splitlines()
    assert lines[1] == "Errors:"
    assert "[item-crc]" in lines[2]
    assert lines[3].strip().startswith("→ read the partition again")
    assert lines[-1].startswith("NOT SOUND: 1 error")


def test_severities_come_worst_first() -> None:
    found = run("verify", "--json", fixture("tlv_damaged_ca"), *AT).object
    order = ["error", "warning", "info"]
    ranks = [order.index(finding["severity"]) for finding in found["findings"]]
    assert ranks == sorted(ranks)
    assert found["verdict"] == "error"


def test_strict_counts_warnings_as_errors() -> None:
    image = fixture("tlv_ca_only")
    assert run("verify", image, *AT).code == 0
    strict = run("verify", "--json", "--strict", image, *AT)
    assert strict.code == 1
    assert strict.object["verdict"] == "error"
    assert "NOT SOUND, as it was asked to be strict" in run("verify", "--strict", image, *AT).out


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("1999-01-01", "certificate-not-yet-valid"),
        ("1999-01-01T12:00:00Z", "certificate-not-yet-valid"),
        ("2999-12-31T23:59:59+02:00", "certificate-expired"),
    ],
)
def test_at_is_the_clock(at: str, code: str) -> None:
    found = run("verify", "--json", GOOD, "--at", at)
    assert found.code == 1
    assert code in {finding["code"] for finding in found.object["findings"]}


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", "", "2026-01-01T25:00"])
def test_no_date_is_wrong_usage(at: str) -> None:
    found = run("verify", GOOD, "--at", at)
    assert (found.code, found.out) == (2, "")
    assert "is no date" in found.err


def codes(*arguments: str | Path) -> set[str]:
    found = run("verify", "--json", *arguments, *AT)
    return {finding["code"] for finding in found.object["findings"]}


def test_the_ds_key_is_proven_with_its_hmac_key(tmp_path: Path) -> None:
    assert "ds-not-proven" in codes(DS)
    assert "ds-proven" in codes(DS, "--hmac-key", KEY)
    as_text = tmp_path / "key.txt"
    as_text.write_text(Path(KEY).read_bytes().hex().upper() + "\n")
    assert "ds-proven" in codes(DS, "--hmac-key", as_text)
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(range(32)))
    assert "ds-wrong-key" in codes(DS, "--hmac-key", other)


def test_a_key_that_is_not_proven_can_be_made_an_error() -> None:
    for name in ("tlv_ds_c3", "tlv_hmac_derived", "tlv_ecdsa_peripheral", "tlv_password"):
        open_question = run("verify", "--json", fixture(name), *AT)
        assert (open_question.code, open_question.object["proven"]) == (0, False)
        required = run("verify", "--json", fixture(name), "--require-proof", *AT)
        assert (required.code, required.object["verdict"]) == (1, "error")
    for options in (["--hmac-key", KEY], ["--hmac-key", KEY, "--strict"]):
        proven = run("verify", "--json", DS, "--require-proof", *options, *AT)
        assert (proven.code, proven.object["proven"]) == (0, True)
    assert run("verify", "--json", fixture("tlv_ca_only"), *AT).object["proven"] is None


def test_several_versions_and_several_ca_files_all_count() -> None:
    old = run("verify", "--json", GOOD, "--firmware", "1.0.3", "--firmware", "2.9.3", *AT)
    assert old.code == 1
    assert "firmware-unread" in {finding["code"] for finding in old.object["findings"]}
    cas = ("--ca", material("ec_ca.pem"), "--ca", material("rsa_ca.pem"))
    assert "not-issued-by-ca" not in codes(GOOD, *cas)


def test_the_chip_of_an_efuse_dump_is_the_modules() -> None:
    dump = FIXTURES / "efuse" / "esp32.token.txt"
    assert "ds-chip" in codes(DS, "--efuse", dump)


@pytest.mark.parametrize("chip", ["ESP32-C3", "ESP32C3", "esp32-c3", "esp32_c3"])
def test_a_chip_may_be_written_as_its_maker_does(chip: str) -> None:
    assert run("verify", DS, "--chip", chip, *AT).code == 0


def test_many_images_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "erased.bin").write_bytes(b"\xff" * 0x2000)
    images = (GOOD, fixture("tlv_ca_only"), fixture("tlv_damaged_ca"), tmp_path / "erased.bin")
    found = run("verify", *images, *AT)
    assert found.code == 3
    said = "4 images: 2 sound (1 with warnings), 1 not sound, 1 could not be read"
    assert found.out.splitlines()[-1] == said


def test_the_real_ds_image_is_proven_with_key_file_and_efuse_image(tmp_path: Path) -> None:
    names = ("partition.bin", "hmac_key.bin", "qemu_efuse.bin")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(real_image(f"tlv_rsa_ds_c3/{path.name}"))
    image, key, efuse = paths
    tried: tuple[tuple[str | Path, ...], ...] = (
        ("--hmac-key", key),
        ("--efuse", efuse),
        ("--efuse", efuse, "--hmac-key", key),
    )
    for options in tried:
        found = run("verify", "--json", image, *options, "--chip", "esp32c3", *AT)
        assert found.code == 0
        assert "ds-proven" in {finding["code"] for finding in found.object["findings"]}


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--hmac-key", b"short", "32 bytes"),
        ("--hmac-key", b"zz" * 32, "32 bytes"),
        ("--efuse", b"no dump", "eFuse"),
        ("--efuse", b"", "eFuse"),
        ("--ca", b"no certificate", "--ca"),
        ("--signing-key", b"no key", "--signing-key"),
        ("--key-password-file", b"\n", "--key-password-file"),
    ],
)
def test_files_that_are_not_what_they_should_be(
    option: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    found = run("verify", GOOD, option, path)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert len(found.err.splitlines()) == 1
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    "option", ["--hmac-key", "--efuse", "--ca", "--signing-key", "--key-password-file"]
)
def test_missing_files_are_wrong_usage(option: str, tmp_path: Path) -> None:
    found = run("verify", GOOD, option, tmp_path / "none")
    assert (found.code, found.out) == (2, "")
    assert "no such file" in found.err
    assert run("verify", GOOD, option, tmp_path).code == 2
    assert run("verify", GOOD, option, "-").code == 2


def test_a_bad_firmware_version_is_wrong_usage() -> None:
    found = run("verify", GOOD, "--firmware", "two")
    assert (found.code, found.out) == (2, "")


def test_firmware_that_cannot_read_it() -> None:
    found = run("verify", "--json", fixture("cust_flash_rsa"), "--firmware", "2.9.3", *AT)
    assert found.code == 1
    assert "firmware-unread" in {finding["code"] for finding in found.object["findings"]}
    assert run("verify", GOOD, "--firmware", "2.9.3", *AT).code == 0


def test_the_password_opens_the_key(tmp_path: Path) -> None:
    image = fixture("tlv_password")
    assert "key-encrypted" in codes(image)
    password = material("ec_device.password.txt")
    assert "key-proven" in codes(image, "--key-password-file", password)
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("wrong\r\n")
    assert "key-password" in codes(image, "--key-password-file", wrong)


def test_whose_signature_it_is() -> None:
    image = fixture("tlv_signed_p256")
    assert "signature-valid" in codes(image)
    assert "signature-valid" in codes(image, "--signing-key", material("sign_p256.key"))
    found = codes(image, "--signing-key", material("sign_rsa3072.key"))
    assert "signature-foreign" in found


def test_the_ca_that_issued_it_and_another() -> None:
    assert "not-issued-by-ca" not in codes(GOOD, "--ca", material("ec_ca.pem"))
    assert "not-issued-by-ca" in codes(GOOD, "--ca", material("rsa_ca.pem"))


def test_several_images_are_all_verified_and_the_worst_code_returned() -> None:
    found = run("verify", "--json", GOOD, fixture("tlv_damaged_ca"), GOOD, *AT)
    assert found.code == 1
    assert [one["verdict"] for one in found.objects] == ["ok", "error", "ok"]


def test_an_unreadable_image_gives_an_error_object(tmp_path: Path) -> None:
    path = tmp_path / "erased.bin"
    path.write_bytes(b"\xff" * 0x2000)
    found = run("verify", "--json", path, GOOD, *AT)
    assert found.code == 3
    assert found.objects[0]["error"]["code"] == "erased"
    assert found.objects[1]["verdict"] == "ok"


def test_quiet_prints_errors_only() -> None:
    assert run("verify", "--quiet", GOOD, *AT).text == ""
    found = run("verify", "--quiet", fixture("tlv_damaged_ca"), *AT)
    assert found.out == ""
    assert "NOT SOUND" in found.err
    assert "[item-crc]" in found.err


def test_the_catalogue_is_printed_and_is_the_page() -> None:
    found = run("verify", "--list-findings")
    assert (found.code, found.err) == (0, "")
    page = (FIXTURES.parent / "docs" / "findings.md").read_text("utf-8")
    assert found.out.rstrip() == page.rstrip()
    for code in CATALOGUE:
        assert f"### {code}\n" in page


def test_a_hostile_name_reaches_no_terminal() -> None:
    found = run("verify", fixture("tlv_hostile"), "--ca", material("rsa_ca.pem"), *AT)
    assert found.code == 1
    assert "\x1b" not in found.text
    assert "[not-issued-by-ca]" in found.out


# --- migrate stands on it ----------------------------------------------------------------------


def test_migrate_replaces_the_leaked_key_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    found = run("migrate", "--json", fixture("tlv_ecdsa_leaked_key"), "-o", out)
    assert found.code == 0
    assert any("leaked-key" in change for change in found.object["changes"])
    (key,) = [item for item in found.object["items"] if item["kind"] == "private_key"]
    assert (key["length"], key["flags"]) == (0, 8)
    stored = Path(fixture("tlv_ecdsa_leaked_key")).read_bytes()
    (leaked,) = tlv.read(stored).of_kind("private_key")
    assert leaked.data not in out.read_bytes()
    assert run("verify", out, *AT).code == 0


def test_migrate_adds_the_missing_nul(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    found = run("migrate", "--json", fixture("tlv_no_nul"), "-o", out)
    assert found.code == 0
    assert sum("pem-without-nul" in change for change in found.object["changes"]) == 3
    assert "pem-without-nul" in codes(fixture("tlv_no_nul"))
    assert "pem-without-nul" not in codes(out)


def test_migrate_refuses_a_foreign_key_unless_it_is_accepted(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.bin"
    items = tlv.read(Path(GOOD).read_bytes()).items
    (other,) = tlv.read(Path(fixture("tlv_rsa")).read_bytes()).of_kind("private_key")
    mixed.write_bytes(tlv.write([i for i in items if i.kind != "private_key"] + [other], 0x2000))
    out = tmp_path / "out.bin"
    found = run("migrate", "--json", mixed, "-o", out)
    assert found.code == 1
    assert not out.exists()
    assert "key-mismatch" in {finding["code"] for finding in found.object["findings"]}
    accepted = run("migrate", "--json", mixed, "-o", out, "--accept", "key-mismatch")
    assert accepted.code == 0
    assert any("key-mismatch" in change for change in accepted.object["changes"])


def test_migrate_proves_the_ds_key_where_the_hmac_key_is_given(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    image = fixture("cust_flash_ds_c3")
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(bytes(range(32)))
    assert run("migrate", image, "-o", out, "--hmac-key", wrong).code == 1
    assert not out.exists()
    assert run("migrate", image, "-o", out, "--hmac-key", KEY).code == 0
    assert "ds-proven" in codes(out, "--hmac-key", KEY)


def test_an_expired_certificate_is_a_warning_for_migrate(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    found = run("migrate", "--json", GOOD, "-o", out, "--at", "2999-01-01")
    assert found.code == 0
    severities = {finding["code"]: finding["severity"] for finding in found.object["findings"]}
    assert severities["certificate-expired"] == "warning"
