"""`espcert build` as users run it: files, modes, exit codes, commands, and nothing secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.cli.runner import Result, assert_no_output, material, run
from tests.support import FIXTURES

from espcert_formats import tlv

VERIFY = FIXTURES / "verify" / "inputs"
NOT_WINDOWS = pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
HMAC = material("hmac_key.bin")


def verify_input(name: str) -> str:
    return str(VERIFY / name)


def device(name: str = "device", key: str | None = None) -> list[str]:
    """The options of a device with its certificate, CA and key."""
    certificates = [
        "--ca-cert",
        verify_input("ca.pem"),
        "--device-cert",
        verify_input(f"{name}.pem"),
    ]
    return [*certificates, "--private-key", verify_input(key or f"{name}.key")]


DS = ["--efuse-key-id", "1", "--chip", "esp32c3"]


def golden(name: str) -> bytes:
    return (FIXTURES / "verify" / f"{name}.bin").read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def used(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: tlv.read(data).end]


# --- What is written -----------------------------------------------------------------------------


def test_a_plain_key(out: Path) -> None:
    result = run("build", *device(), "-o", out)
    assert (result.code, result.err) == (0, "")
    assert used(out) == golden("ec")
    assert f"written   {out} (8192 bytes (0x2000), 1552 bytes used, mode 0600)" in result.out
    assert "private key in plain text" in result.out
    assert "espefuse" not in result.out
    assert run("verify", "--strict", "--require-proof", out).code == 0


@NOT_WINDOWS
def test_files_that_hold_secrets_are_mine_alone(out: Path, tmp_path: Path) -> None:
    new_key = tmp_path / "hmac.bin"
    result = run("build", *device("rsa2048"), *DS, "--new-hmac-key", new_key, "-o", out)
    assert (result.code, result.err) == (0, "")
    assert (mode(out), mode(new_key), len(new_key.read_bytes())) == (0o600, 0o600, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hmac.bin", "out.bin"]


def test_a_new_hmac_key_opens_what_is_built(out: Path, tmp_path: Path) -> None:
    new_key = tmp_path / "hmac.bin"
    result = run("build", *device("rsa2048"), *DS, "--new-hmac-key", new_key, "-o", out)
    line = f"espefuse --chip esp32c3 burn-key BLOCK_KEY1 {new_key} HMAC_DOWN_DIGITAL_SIGNATURE"
    assert f"  {line}\n" in result.out
    assert "burning eFuses cannot be undone" in result.out
    proven = run("verify", "--require-proof", "--hmac-key", new_key, "--chip", "esp32c3", out)
    assert proven.code == 0
    assert "ds-proven" in proven.out
    assert new_key.read_bytes().hex() not in result.text


def test_a_new_hmac_key_is_another_each_time(tmp_path: Path) -> None:
    keys = set()
    for number in range(2):
        key = tmp_path / f"{number}.key"
        run("build", *device("rsa2048"), *DS, "--new-hmac-key", key, "-o", tmp_path / f"{number}")
        keys.add(key.read_bytes())
    assert len(keys) == 2


@pytest.mark.parametrize("options", [[], ["--force"], ["--dry-run"]])
def test_an_hmac_key_is_never_overwritten(out: Path, tmp_path: Path, options: list[str]) -> None:
    key = tmp_path / "hmac.bin"
    key.write_bytes(b"the only copy")
    where: list[str | Path] = [] if "--dry-run" in options else ["-o", out]
    result = run("build", *device("rsa2048"), *DS, "--new-hmac-key", key, *where, *options)
    assert (result.code, result.out) == (2, "")
    expected = f"espcert: --new-hmac-key {key}: exists; a key is never overwritten\n"
    assert result.err == expected
    assert key.read_bytes() == b"the only copy"
    assert_no_output(out)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    files: list[str | Path] = [
        "--new-hmac-key",
        tmp_path / "hmac.bin",
        "--public-key-out",
        tmp_path / "public.pem",
    ]
    result = run("build", *device("rsa2048"), *DS, *files, "--dry-run", "-o", tmp_path / "out.bin")
    assert result.code == 0
    assert "dry run   nothing written" in result.out
    assert list(tmp_path.iterdir()) == []


def test_an_hmac_key_in_hex_has_the_command_that_makes_it_binary(out: Path) -> None:
    key = verify_input("hmac_key.hex")
    result = run("build", *device("rsa2048"), *DS, "--ds-hmac-key", key, "-o", out)
    assert result.code == 0
    assert f"(umask 077; xxd -r -p {key} {key}.bin)" in result.out
    assert f"BLOCK_KEY1 {key}.bin HMAC_DOWN_DIGITAL_SIGNATURE" in result.out


@pytest.mark.parametrize(
    ("key", "option"),
    [
        ("device.key", None),
        ("device.key.der", " -inform DER"),
        ("device.encrypted.key", ""),
        ("device.encrypted.der", " -inform DER"),
    ],
)
def test_a_key_in_a_form_that_espefuse_does_not_take(
    out: Path, key: str, option: str | None
) -> None:
    password = ["--key-password-file", verify_input("password.txt")]
    given = [*device("device", key), *(password if "encrypted" in key else [])]
    place = ["--ecdsa-peripheral", "--efuse-key-id", "0", "--chip", "esp32h2"]
    result = run("build", *given, *place, "-o", out)
    assert result.code == 0
    path = verify_input(key)
    if option is None:
        assert "openssl" not in result.out
        assert f"burn-key BLOCK_KEY0 {path} ECDSA_KEY\n" in result.out
    else:
        assert f"openssl pkey{option} -in {path} -out {path}.plain.pem" in result.out
        assert f"burn-key BLOCK_KEY0 {path}.plain.pem ECDSA_KEY\n" in result.out


def test_a_key_that_fills_two_blocks(out: Path) -> None:
    place = ["--ecdsa-peripheral", "--efuse-key-id", "2", "--chip", "esp32p4"]
    result = run("build", *device("p384"), *place, "-o", out)
    assert "BLOCK_KEY3 must be free, too" in result.out
    assert "needs revision 3.0 or later of the chip" in result.out
    assert f"burn-key BLOCK_KEY2 {verify_input('p384.key')} ECDSA_KEY_P384\n" in result.out


def test_from_a_new_hmac_key_to_a_certified_derived_key(tmp_path: Path) -> None:
    """The public key is certified in between; here only that the second run gives the same key."""
    key, public, first = (tmp_path / name for name in ("up.bin", "public.pem", "first.bin"))
    common = ["--hmac-derived", "--efuse-key-id", "0", "--chip", "esp32c3"]
    made = run("build", *common, "--new-hmac-key", key, "--public-key-out", public, "-o", first)
    assert made.code == 0
    assert "missing-device-cert" in made.err
    assert public.read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")
    assert run("inspect", first, "--extract", tmp_path / "contents").code == 0
    (salt,) = (tmp_path / "contents").rglob("ecdsa_salt*")
    again: list[str | Path] = [
        "--hmac-key",
        key,
        "--salt",
        salt,
        "--public-key-out",
        tmp_path / "again.pem",
    ]
    assert run("build", *common, *again, "-o", tmp_path / "second.bin").code == 0
    assert (tmp_path / "again.pem").read_bytes() == public.read_bytes()
    assert (tmp_path / "second.bin").read_bytes() == first.read_bytes()


def test_a_derived_key_is_checked_against_its_certificate(out: Path) -> None:
    common = ["--hmac-derived", "--hmac-key", HMAC, "--efuse-key-id", "0", "--chip", "esp32c3"]
    salt = ["--salt", material("derived_salt.bin")]
    certificate = ["--device-cert", material("derived_device.der")]
    foreign = run("build", *common, *certificate, "-o", out)
    assert foreign.code == 1
    assert "expected that of device_cert" in foreign.err
    assert_no_output(out)
    result = run("build", *common, *salt, *certificate, "-o", out)
    assert result.code == 0
    assert "is that of the device certificate" in result.out


def test_user_data_and_several_ca_certificates(out: Path, tmp_path: Path) -> None:
    (tmp_path / "a=b").write_bytes(b"data")
    more = ["--ca-cert", material("ec_ca.pem"), "--user-data", f"5={tmp_path / 'a=b'}"]
    result = run("build", *device(), *more, "-o", out, "--json", "--size", "0x6000")
    assert result.code == 0
    held = [(one["kind"], one["index"]) for one in result.object["items"]]
    assert held == [
        ("ca_cert", 0),
        ("ca_cert", 1),
        ("device_cert", 0),
        ("private_key", 0),
        ("user_data_5", 0),
        ("integrity", 0),
    ]
    assert result.object["output"] == str(out)
    assert len(out.read_bytes()) == 0x6000


def test_json_says_what_was_built(out: Path) -> None:
    result = run("build", *device("rsa2048"), *DS, "--ds-hmac-key", HMAC, "-o", out, "--json")
    found = result.object
    assert (result.code, result.err, found["file"]) == (0, "", str(out))
    assert (found["layout"], found["key"], found["chip_family"]) == ("tlv", "rsa_ds", "ds3072")
    (command,) = found["efuse_commands"]
    assert command.startswith("espefuse --chip esp32c3 burn-key BLOCK_KEY1 ")
    assert found["efuse_notes"] == []


def test_quiet_prints_nothing(out: Path) -> None:
    result = run("build", *device(), "-o", out, "--quiet")
    assert (result.code, result.text) == (0, "")


# --- What is refused -----------------------------------------------------------------------------


def refused(result: Result, code: int, text: str, output: Path) -> None:
    """One clear line, the exit code, and nothing written."""
    assert result.code == code, result.text
    assert text in result.err
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert_no_output(output)


DOES_NOT_FIT = {
    "no rsa key": (["--ds-hmac-key", HMAC, *DS], "device", "expected RSA of 1024, 2048, 3072 bits"),
    "too large for the chip": (
        ["--ds-hmac-key", HMAC, "--efuse-key-id", "1", "--chip", "esp32c5"],
        "rsa4096",
        "the DS peripheral of esp32c5 takes no other",
    ),
    "no ds peripheral": (
        ["--ds-hmac-key", HMAC, "--efuse-key-id", "1", "--chip", "esp32c61"],
        "rsa2048",
        "esp32c61 has no DS peripheral",
    ),
    "wrong curve": (
        ["--ecdsa-peripheral", "--efuse-key-id", "1", "--chip", "esp32h2"],
        "p384",
        "ECDSA P-384, expected ECDSA on P-192, P-256",
    ),
}


@pytest.mark.parametrize("case", DOES_NOT_FIT)
def test_a_key_that_does_not_fit(case: str, out: Path) -> None:
    options, name, text = DOES_NOT_FIT[case]
    refused(run("build", *device(name), *options, "-o", out), 1, text, out)


@pytest.mark.parametrize("options", [[], ["--new-hmac-key", "new.bin", *DS]])
def test_a_key_of_another_certificate(options: list[str], out: Path) -> None:
    key = "rsa2048_other.key"
    result = run("build", *device("rsa2048", key), *options, "-o", out, cwd=out.parent)
    refused(result, 1, "expected that of device_cert: RSA 2048", out)
    assert list(out.parent.iterdir()) == []


def test_a_refusal_is_an_object_with_json(out: Path) -> None:
    result = run("build", *device("rsa2048", "rsa2048_other.key"), "-o", out, "--json")
    assert result.code == 1
    assert result.object["error"]["code"] == "key-mismatch"
    assert_no_output(out)


def test_what_the_checks_find_is_refused(out: Path) -> None:
    result = run("build", *device("device_expired", "device.key"), "-o", out)
    assert result.code == 1
    assert "refused, nothing written: 1 error" in result.err
    assert "[certificate-expired]" in result.err
    assert_no_output(out)
    then = run("build", *device("device_expired", "device.key"), "--at", "2019-06-01", "-o", out)
    assert then.code == 0


def test_a_ca_that_the_certificate_does_not_lead_to(out: Path) -> None:
    result = run("build", *device(), "--ca", verify_input("ca_unrelated.pem"), "-o", out)
    assert result.code == 1
    assert "[not-issued-by-ca]" in result.err
    assert_no_output(out)


PASSWORD = ["--key-password-file", verify_input("password.txt")]
KEY_ID = ["--efuse-key-id", "1"]
USAGE: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "nothing to store"),
    "ds without chip": (
        [*device("rsa2048"), "--ds-hmac-key", HMAC, *KEY_ID],
        "--chip NAME is missing",
    ),
    "ds without block": (
        [*device("rsa2048"), "--ds-hmac-key", HMAC, "--chip", "esp32c3"],
        "--ds-hmac-key needs --efuse-key-id N",
    ),
    "two hmac keys": (
        [*device("rsa2048"), "--ds-hmac-key", HMAC, "--new-hmac-key", "x", *DS],
        "--ds-hmac-key and --new-hmac-key exclude each other",
    ),
    "two modes": (
        [*device("rsa2048"), "--ds-hmac-key", HMAC, "--ecdsa-peripheral", *DS],
        "--ds-hmac-key and --ecdsa-peripheral exclude each other",
    ),
    "ds without key": (["--ds-hmac-key", HMAC, *DS], "--ds-hmac-key needs --private-key"),
    "ecdsa without key": (["--ecdsa-peripheral", *DS], "--ecdsa-peripheral needs --private-key"),
    "derived with key": (
        [*device(), "--hmac-derived", "--hmac-key", HMAC, *DS],
        "--hmac-derived excludes --private-key",
    ),
    "derived without key": (["--hmac-derived", *DS], "needs either --hmac-key or --new-hmac-key"),
    "derived with two": (
        ["--hmac-derived", "--hmac-key", HMAC, "--new-hmac-key", "x", *DS],
        "needs either --hmac-key or --new-hmac-key",
    ),
    "hmac key alone": ([*device(), "--hmac-key", HMAC], "--hmac-key needs --hmac-derived"),
    "salt with ds": (
        [*device("rsa2048"), "--ds-hmac-key", HMAC, "--salt", HMAC, *DS],
        "--salt needs --hmac-derived",
    ),
    "block alone": ([*device(), *KEY_ID], "--efuse-key-id needs --ds-hmac-key"),
    "password alone": (PASSWORD, "--key-password-file needs --private-key"),
    "no password": (
        device("device", "device.encrypted.key"),
        "under a password; --key-password-file FILE opens it",
    ),
    "wrong password": (
        [*device("device", "device.encrypted.key"), "--key-password-file",
         verify_input("wrong_password.txt")],
        "the password that was given does not open it",
    ),
    "no such key": ([*device("device", "none.key")], "none.key: no such file"),
    "stdin": (["--private-key", "-"], "--private-key -: a file is expected"),
    "a certificate that is none": (
        ["--device-cert", verify_input("device.key")],
        "device_cert: 227 bytes, expected X.509 certificates",
    ),
    "a short hmac key": (
        [*device("rsa2048"), "--ds-hmac-key", verify_input("password.txt"), *DS],
        "--ds-hmac-key",
    ),
    "user data": (["--user-data", "6=x"], "--user-data 6=x: expected N=FILE with N from 1 to 5"),
    "user data without file": (["--user-data", "1="], "expected N=FILE"),
    "user data twice": (
        ["--user-data", f"1={HMAC}", "--user-data", f"1={HMAC}"],
        "user_data_1: given twice",
    ),
    "size": ([*device(), "--size", "0x1800"], "whole sectors of 0x1000 bytes"),
    "public key of nothing": (
        ["--device-cert", verify_input("device.pem"), "--public-key-out", "x"],
        "--public-key-out: there is no private key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_one_line(case: str, out: Path) -> None:
    options, text = USAGE[case]
    result = run("build", *options, "-o", out, cwd=out.parent)
    refused(result, 2, text, out)
    assert list(out.parent.iterdir()) == []


def test_there_is_no_way_to_encrypt_a_key_under_hmac() -> None:
    """No release of the firmware both writes and reads such keys."""
    result = run("build", *device(), "--hmac-encrypted", "--dry-run")
    assert result.code == 2
    assert "No such option" in result.err


def test_out_is_needed_and_is_no_input(tmp_path: Path) -> None:
    result = run("build", *device())
    assert (result.code, result.err) == (2, "espcert: -o OUT is missing (or --dry-run)\n")
    key = tmp_path / "device.key"
    key.write_bytes((VERIFY / "device.key").read_bytes())
    result = run("build", "--private-key", key, "-o", key, "--force")
    assert result.code == 2
    assert "is the input" in result.err
    assert key.read_bytes() == (VERIFY / "device.key").read_bytes()


def test_the_files_that_are_written_are_different_ones(out: Path) -> None:
    result = run("build", *device("rsa2048"), *DS, "--new-hmac-key", out, "-o", out)
    refused(result, 2, "must be different files", out)


def test_an_existing_partition_is_kept_without_force(out: Path) -> None:
    out.write_bytes(b"mine")
    result = run("build", *device(), "-o", out)
    assert (result.code, out.read_bytes()) == (2, b"mine")
    assert run("build", *device(), "-o", out, "--force").code == 0
    assert used(out) == golden("ec")


# --- Secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [[], ["--json"], ["--dry-run"]])
def test_nothing_secret_is_printed(flag: list[str], tmp_path: Path) -> None:
    ways = (
        device("device", "device.encrypted.key") + PASSWORD,
        [*device("rsa2048"), *DS, "--ds-hmac-key", HMAC],
        ["--hmac-derived", "--hmac-key", HMAC, "--salt", material("derived_salt.bin"), *DS],
    )
    key = (VERIFY / "device.key").read_text("ascii").splitlines()[1]
    secrets = [key, (VERIFY / "password.txt").read_text("ascii").strip()]
    secrets += [Path(material(name)).read_bytes().hex() for name in ("hmac_key.bin",)]
    for number, way in enumerate(ways):
        result = run("build", *way, "-o", tmp_path / f"{number}.bin", *flag)
        assert result.code == 0
        shown = result.text.replace("espcert verify CA", "")
        assert not [secret for secret in secrets if secret in shown]


def test_file_names_with_controls_are_shown_escaped(tmp_path: Path) -> None:
    key = tmp_path / "a\x1b[31m.bin"
    result = run("build", *device("rsa2048"), *DS, "--new-hmac-key", key, "-o", tmp_path / "o.bin")
    assert result.code == 0
    assert "\x1b" not in result.text


# --- From a CSV ----------------------------------------------------------------------------------

HEADER = (
    "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,efuse_key"
)


def csv_of(folder: Path, *rows: str) -> Path:
    """A CSV beside copies of its files."""
    for name in ("rsa2048.pem", "rsa2048.key", "ca.pem"):
        (folder / name).write_bytes((VERIFY / name).read_bytes())
    path = folder / "order.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="ascii")
    return path


ROWS = (
    "ESP_SECURE_CERT_CA_CERT_TLV,0,ca.pem,file,,,,,",
    "ESP_SECURE_CERT_DEV_CERT_TLV,0,rsa2048.pem,file,,,,,",
    "ESP_SECURE_CERT_PRIV_KEY_TLV,0,rsa2048.key,file,rsa_ds,RSA,2048,2,",
)


def test_a_csv_that_orders_a_ds_key_with_a_new_hmac_key(tmp_path: Path) -> None:
    order, key, output = csv_of(tmp_path, *ROWS), tmp_path / "new.bin", tmp_path / "out.bin"
    files = ["--new-hmac-key", str(key), "-o", str(output)]
    result = run("build", order, "--chip", "esp32c3", *files, "--json")
    assert result.code == 0
    assert result.object["file"] == str(order)
    line = f"espefuse --chip esp32c3 burn-key BLOCK_KEY2 {key} HMAC_DOWN_DIGITAL_SIGNATURE"
    assert result.object["efuse_commands"] == [line]
    assert run("verify", "--require-proof", "--hmac-key", key, output).code == 0


def test_what_a_csv_names_is_never_the_output(tmp_path: Path) -> None:
    order = csv_of(tmp_path, *ROWS)
    before = (tmp_path / "ca.pem").read_bytes()
    options = ["--chip", "esp32c3", "--ds-hmac-key", HMAC, "-o", str(tmp_path / "ca.pem")]
    result = run("build", order, *options, "--force")
    assert (result.code, (tmp_path / "ca.pem").read_bytes()) == (2, before)
    assert "is the input" in result.err


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 2, "efuse_key is empty"),
        (["--device-cert", verify_input("device.pem")], 2, "--device-cert beside a CSV"),
        (["--efuse-key-id", "0"], 2, "--efuse-key-id beside a CSV"),
        (["--ds-hmac-key", HMAC, "--new-hmac-key", "x"], 2, "exclude each other"),
        (["--files-root", "none"], 2, "--files-root none: no such directory"),
        (["--ds-hmac-key", HMAC, "--files-root", str(FIXTURES)], 3, "no such file"),
    ],
)
def test_a_csv_with_options_that_do_not_fit(
    out: Path, tmp_path: Path, options: list[str], code: int, text: str
) -> None:
    order = csv_of(tmp_path, *ROWS)
    refused(run("build", order, "--chip", "esp32c3", *options, "-o", out), code, text, out)


def test_a_file_that_is_no_csv(out: Path) -> None:
    result = run("build", verify_input("device.pem"), "-o", out)
    refused(result, 3, "line 1 has no column tlv_type", out)


def test_files_root_needs_a_csv(out: Path) -> None:
    result = run("build", *device(), "--files-root", FIXTURES, "-o", out)
    refused(result, 2, "--files-root needs a CSV", out)
