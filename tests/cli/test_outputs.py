"""What is written never takes the place of what was read, or of another thing that is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.cli.runner import assert_no_output, fixture, material, run
from tests.cli.test_encrypted_flash import TLV
from tests.flash_cipher import XTS_128
from tests.support import FIXTURES

ds_build = pytest.mark.parametrize("spelled", ["k.bin", "sub/../k.bin", "link/k.bin"])


@ds_build
def test_a_new_key_is_not_lost_to_the_partition(spelled: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    result = run(
        *("build", "--device-cert", material("rsa_device.pem")),
        *("--private-key", material("rsa_device.key"), "--new-hmac-key", "k.bin"),
        *("--efuse-key-id", "1", "--chip", "esp32c3", "-o", spelled, "--force"),
        cwd=tmp_path,
    )
    assert (result.code, result.out) == (2, "")
    assert "must be different files" in result.err
    assert_no_output(tmp_path / "k.bin")


def test_a_table_does_not_take_the_image_s_place(tmp_path: Path) -> None:
    from tests.cli.test_encrypted_flash import flash

    (tmp_path / "sub").mkdir()
    path = tmp_path / "flash.bin"
    path.write_bytes(flash(XTS_128).plain)
    out, table = "out.bin", "sub/../out.bin"
    result = run("migrate", path, "-o", out, "--table-out", table, "--force", cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "must be different files" in result.err
    assert_no_output(tmp_path / "out.bin")


@pytest.mark.parametrize("verb", ["sign", "digest", "convert", "migrate"])
def test_a_key_file_is_never_the_output(verb: str, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(XTS_128.encrypt(TLV, 0xD000))
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    key, before = tmp_path / "flash.key", XTS_128.key
    commands = {
        "sign": ("sign", "--key", material("sign_p256.key"), "-o", key),
        "digest": ("sign", "--scheme", "ECDSA P-256", "--digest-out", key),
        "convert": ("convert", "--to", "nvs", "-o", key),
        "migrate": ("migrate", "-o", key),
    }
    result = run(*commands[verb], *options, image, "--force")
    assert (result.code, result.out) == (2, "")
    assert key.read_bytes() == before


def test_extracting_spares_what_was_read(tmp_path: Path) -> None:
    folder = tmp_path / "e" / "image"
    folder.mkdir(parents=True)
    image = tmp_path / "image.bin"
    image.write_bytes(XTS_128.encrypt(TLV, 0xD000))
    key = folder / "private_key.pem"
    key.write_bytes(XTS_128.key)
    result = run(
        *("inspect", image, "--extract", tmp_path / "e", "--force", "--flash-address", "0xd000"),
        *("--flash-encryption-key", key, "--flash-encryption", "xts"),
    )
    assert result.code == 2
    assert "is the input" in result.err
    assert key.read_bytes() == XTS_128.key


def test_extracting_spares_the_files_of_a_csv(tmp_path: Path) -> None:
    made = run("convert", fixture("tlv_ec"), "--to", "csv", "-o", tmp_path / "z.csv")
    assert made.code == 0
    csv = tmp_path / "z.csv"
    folder = tmp_path / "z"
    shutil.move(tmp_path / "z_contents", folder)
    (folder / "device_cert_0.pem").rename(folder / "device_cert.pem")
    text = csv.read_text("utf-8").replace("z_contents/device_cert_0", "z/device_cert")
    csv.write_text(text.replace("z_contents/", "z/"), "utf-8")
    before = (folder / "device_cert.pem").read_bytes()
    result = run("inspect", csv, "--extract", tmp_path, "--force")
    assert result.code == 2
    assert (folder / "device_cert.pem").read_bytes() == before


def test_a_file_in_the_way_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = run("inspect", fixture("tlv_ec"), "--extract", tmp_path / "file")
    assert result.code == 2
    assert "is not a directory" in result.err


@pytest.mark.parametrize(
    "name",
    ["=1+1.csv", " lead.csv", "c:x.csv", "-o.csv", ".csv", "a b.csv", os.fsdecode(b"\xff.csv")],
)
def test_a_csv_of_any_name_reads_back(name: str, tmp_path: Path) -> None:
    result = run("convert", fixture("tlv_ec"), "--to", "csv", "-o", tmp_path / name)
    assert result.code == 0, result.err
    cells = [line.split(",")[2] for line in (tmp_path / name).read_text("utf-8").splitlines()[1:]]
    assert all(cell[0].isalnum() or cell[0] == "_" for cell in cells)
    assert run("diff", tmp_path / name, fixture("tlv_ec")).code == 0


def test_a_pem_directory_is_no_standard_output(tmp_path: Path) -> None:
    result = run("convert", fixture("tlv_ec"), "--to", "pem", "-o", "-", cwd=tmp_path)
    assert result.code == 2
    assert list(tmp_path.iterdir()) == []


def test_files_of_an_earlier_image_are_told(tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert run("convert", fixture("tlv_ec"), "--to", "pem", "-o", out).code == 0
    again = run("convert", fixture("tlv_ca_only"), "--to", "pem", "-o", out, "--force")
    assert again.code == 0
    assert "also holds device_cert.pem, private_key.pem" in again.err


def test_files_that_are_not_taken_are_told(tmp_path: Path) -> None:
    for name in ("device_cert.pem", "priv_key.pem"):
        shutil.copy(FIXTURES / "inputs" / "ec_device.pem", tmp_path / name)
    for verb in (("convert", "--to", "tlv"), ("migrate",)):
        result = run(*verb, tmp_path, "-o", tmp_path.parent / f"{verb[0]}.bin")
        assert result.code == 0
        assert "not taken: priv_key.pem" in result.err


def test_nothing_is_dropped_from_an_index(tmp_path: Path) -> None:
    source = tmp_path / "v"
    made = run("convert", fixture("tlv_every_type"), "--to", "pem", "-o", source)
    assert made.code == 0
    index = source / "items.json"
    text = index.read_text("utf-8")
    assert '"length": 0' in text
    assert run("convert", source, "--to", "tlv", "-o", tmp_path / "v.bin").code == 0
    assert run("diff", source, tmp_path / "v.bin").code == 0


@pytest.mark.parametrize("column", ["efuse_key", "data_value", "tlv_subtype"])
def test_a_key_in_the_wrong_column_is_not_told(column: str, tmp_path: Path) -> None:
    secret = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes().hex()
    secret = secret[:32] if column == "tlv_subtype" else secret
    row = {
        "efuse_key": f"2,0,{Path(material('rsa_device.key')).name},file,rsa_ds,RSA,2048,1,{secret}",
        "data_value": f"7,0,{secret},file,,,,,",
        "tlv_subtype": f"7,{secret},00,hex,,,,,",
    }[column]
    names = "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size"
    csv = tmp_path / "in.csv"
    csv.write_text(f"{names},efuse_id,efuse_key\n{row}\n", "utf-8")
    shutil.copy(material("rsa_device.key"), tmp_path)
    for verb in (("detect",), ("build", "--chip", "esp32c3", "-o", str(tmp_path / "o.bin"))):
        result = run(*verb, csv, "--json")
        assert result.code in (2, 3)
        assert secret not in result.text


def test_convert_encrypts_only_what_firmware_decrypts(tmp_path: Path) -> None:
    from tests.cli.test_encrypted_flash import flash

    path = tmp_path / "flash.bin"
    path.write_bytes(flash(XTS_128, flags=0, partition_in=False, table_in=False).data)
    options = (*XTS_128.options(tmp_path), "--encrypt-output", "-o", str(tmp_path / "o.bin"))
    unflagged = run("convert", path, "--to", "tlv", *options)
    assert unflagged.code == 2
    assert "not flagged as encrypted" in unflagged.err
    path.write_bytes(flash(XTS_128).data)
    nvs = run("convert", path, "--to", "nvs", *options)
    assert nvs.code == 2
    assert "not under flash encryption" in nvs.err
    assert run("convert", path, "--to", "cust_flash", *options).code == 0


def test_diff_of_a_bare_encrypted_partition_and_a_whole_image(tmp_path: Path) -> None:
    from tests.cli.test_encrypted_flash import LEGACY, flash

    bare, whole = tmp_path / "bare.bin", tmp_path / "whole.bin"
    bare.write_bytes(XTS_128.encrypt(LEGACY, 0xD000))
    whole.write_bytes(flash(XTS_128).data)
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    for pair in ((bare, whole), (whole, bare)):
        assert run("diff", *pair, *options).code == 0


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path) -> None:
    command = (
        *("build", "--device-cert", material("rsa_device.pem")),
        *("--public-key-out", tmp_path / "pk.pem", "-o", tmp_path / "z.bin"),
    )
    assert run(*command).code == 2
    assert run(*command, "--dry-run").code == 2


def test_a_flash_image_that_is_cut_before_the_partition(tmp_path: Path) -> None:
    from tests.cli.test_encrypted_flash import flash

    path = tmp_path / "cut.bin"
    path.write_bytes(flash(XTS_128).plain[:0xE000])
    found = run("detect", "--json", path)
    assert found.code == 3
    assert found.object["reason_code"] == "truncated"


def test_an_encrypted_table_is_told_as_such(tmp_path: Path) -> None:
    from tests.cli.test_encrypted_flash import flash

    path = tmp_path / "flash.bin"
    path.write_bytes(flash(XTS_128).data)
    result = run("partitions", path)
    assert result.code == 3
    assert "--flash-encryption-key" in result.err
