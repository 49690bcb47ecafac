"""CSV files and PEM directories where an IMAGE is expected, with every verb."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.cli.runner import assert_no_output, controls, fixture, run
from tests.files_as_images import CHAIN, DER, KEY, PEM, csv_text, row, write
from tests.support import FIXTURES, IMAGES, fixture_truth, real_image

import espcert
from espcert import csv_writing, schemas
from espcert_formats import tlv
from espcert_formats.items import SEALS

CERT = "ESP_SECURE_CERT_DEV_CERT_TLV"
PRIVATE = "ESP_SECURE_CERT_PRIV_KEY_TLV"
KINDS = ("csv", "pem")
PARTITION = {"file_offset": None, "size": None, "type": None, "subtype": None, "encrypted": None}


def made(kind: str, name: str, folder: Path) -> Path:
    """A fixture's items as a CSV or as a PEM directory."""
    contents = espcert.detect(espcert.open_image(fixture(name))).require()
    if kind == "csv":
        return write(csv_writing.payloads(contents.items), folder) / csv_writing.FILE_NAME
    assert run("inspect", "--quiet", "--extract", folder, fixture(name)).code == 0
    return folder / name


def valid(name: str, found: dict[str, Any]) -> bool:
    return Draft202012Validator(schemas.load(name)).is_valid(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "key", "chip"),
    [
        ("tlv_rsa", "plaintext", None),
        ("cust_flash_ds_c3", "rsa_ds", "ds3072"),
        ("nvs_ec", "plaintext", None),
    ],
)
def test_detect(kind: str, name: str, key: str, chip: str | None, tmp_path: Path) -> None:
    path = made(kind, name, tmp_path)
    found = run("detect", "--json", path).object
    assert found.pop("evidence")
    assert found == {
        "schema": 1,
        "file": str(path),
        "container": kind,
        "layout": kind,
        "key": key,
        "revision": None,
        "label": None,
        "chip_family": chip,
        "partition": PARTITION,
    }
    result = run("detect", path)
    assert (result.code, result.err) == (0, "")
    assert f": {kind} (" in result.out
    assert "items, " in result.out
    assert "revision" not in result.out


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_gives_the_items_without_places(kind: str, tmp_path: Path) -> None:
    source = run("inspect", "--json", fixture("tlv_ds_c3")).object
    found = run("inspect", "--json", made(kind, "tlv_ds_c3", tmp_path)).object
    assert valid("inspect", found)
    assert not valid("inspect", found | {"layout": "tlv", "container": "partition"})
    for items in (source["items"], found["items"]):
        for item in items:
            item.update(offset=None, entry_offset=None, intact=None)
    material = [item for item in source["items"] if item["kind"] not in SEALS]
    wanted = material if kind == "csv" else source["items"]
    assert sorted(map(str, found["items"])) == sorted(map(str, wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_for_people(kind: str, tmp_path: Path) -> None:
    result = run("inspect", made(kind, "tlv_rsa", tmp_path))
    assert (result.code, result.err) == (0, "")
    assert "RSA 2048 in plain text" in result.out
    assert "0x0 " not in result.out


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_no_map(kind: str, tmp_path: Path) -> None:
    result = run("inspect", "--map", made(kind, "tlv_rsa", tmp_path))
    assert (result.code, result.out) == (2, "")
    assert "--map draws a partition, and these are files" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tlv_rsa", "tlv_ds_c3", "nvs_legacy_ds_c3", "tlv_signed_p256"])
def test_verify_proves_as_of_the_partition(kind: str, name: str, tmp_path: Path) -> None:
    means = ("--hmac-key", FIXTURES / "inputs" / "hmac_key.bin", "--at", "2030-01-01")
    source = run("verify", "--json", *means, fixture(name)).object
    result = run("verify", "--json", *means, made(kind, name, tmp_path))
    found = result.object
    assert valid("verify", found)
    assert result.code == 0
    assert found["proven"] is source["proven"]
    of_bytes = ("integrity", "signature", "nvs", "end-marker")
    findings = {
        (one["code"], one["item"])
        for one in source["findings"]
        if not one["code"].startswith(of_bytes)
    }
    assert {(one["code"], one["item"]) for one in found["findings"]} == findings
    assert {one["offset"] for one in found["findings"]} <= {None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["tlv_rsa", "cust_flash_legacy_ec", "nvs_ds_s2_two_pages"])
def test_migrate_makes_the_same_partition(kind: str, name: str, tmp_path: Path) -> None:
    outputs = tmp_path / "image.bin", tmp_path / "files.bin"
    path = made(kind, name, tmp_path)
    assert run("migrate", "--size", "0x6000", fixture(name), "-o", outputs[0]).code == 0
    result = run("migrate", "--json", "--size", "0x6000", path, "-o", outputs[1])
    assert (result.code, result.err) == (0, "")
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert valid("migrate", result.object)
    assert result.object["changes"][0] == f"layout {kind} → tlv"
    assert result.object["partition_table"]["before"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_migrate_for_people(kind: str, tmp_path: Path) -> None:
    result = run("migrate", "--dry-run", made(kind, "tlv_rsa", tmp_path))
    assert (result.code, result.err) == (0, "")
    assert "Read the partition from the module and keep the dump" in result.out
    assert "from 0x0" not in result.out
    assert "0x2000, the smallest" in result.out


def test_a_signature_is_lost_with_the_bytes(tmp_path: Path) -> None:
    path, out = made("pem", "tlv_signed_p256", tmp_path), tmp_path / "out.bin"
    result = run("migrate", path, "-o", out)
    assert result.code == 1
    assert "signature-lost" in result.err
    assert_no_output(out)
    assert run("migrate", "--accept", "signature-lost", path, "-o", out).code == 0


@pytest.mark.parametrize(
    ("name", "code"), [("tlv_damaged_ca", "item-crc"), ("tlv_duplicate", "duplicate-entry")]
)
def test_damage_is_refused_from_files_too(name: str, code: str, tmp_path: Path) -> None:
    path, out = made("pem", name, tmp_path), tmp_path / "out.bin"
    result = run("migrate", path, "-o", out)
    assert result.code == 1
    assert code in result.err
    assert " at 0x0" not in result.err
    assert_no_output(out)
    assert code in run("verify", path).out
    assert run("migrate", "--accept", code, path, "-o", out).code == 0
    assert " at 0x0" not in run("migrate", "--dry-run", "--accept", code, path).out


def test_empty_keys_survive(tmp_path: Path) -> None:
    path, out = made("pem", "tlv_ecdsa_peripheral", tmp_path), tmp_path / "out.bin"
    assert run("migrate", path, "-o", out).code == 0
    (key,) = tlv.read(out.read_bytes()).of_kind("private_key")
    assert (key.data, key.flags, key.protection) == (b"", 0x08, "ecdsa_peripheral")


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    path = made("pem", "tlv_rsa", tmp_path)
    before = {one.name: one.read_bytes() for one in path.iterdir()}
    csv = made("csv", "tlv_rsa", tmp_path)
    for source, out in (
        (path, path / "private_key.pem"),
        (path, path / "items.json"),
        (csv, tmp_path / "contents" / "private_key_0.pem"),
        (csv, csv),
    ):
        kept = out.read_bytes()
        result = run("migrate", "--force", source, "-o", out)
        assert (result.code, result.out) == (2, "")
        assert "is the input" in result.err
        assert out.read_bytes() == kept
    assert run("inspect", "--force", "--extract", tmp_path, path).code == 2
    assert {one.name: one.read_bytes() for one in path.iterdir()} == before


def test_extracting_a_pem_directory_copies_it(tmp_path: Path) -> None:
    path = made("pem", "tlv_every_type", tmp_path)
    assert run("inspect", "--quiet", "--extract", tmp_path / "copy", path).code == 0
    copy = tmp_path / "copy" / "tlv_every_type"
    names = sorted(one.name for one in path.iterdir())
    assert sorted(one.name for one in copy.iterdir()) == names
    for name in set(names) - {"items.json"}:
        assert (copy / name).read_bytes() == (path / name).read_bytes()


# --- CSV ---------------------------------------------------------------------------------------


def test_csv_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "cert.der").write_bytes(DER)
    text = csv_text(row(CERT, "cert.der", "file"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    beside = run("inspect", "--json", "-", stdin=text, cwd=tmp_path)
    named = run("inspect", "--json", "--files-root", tmp_path, "-", stdin=text, cwd=elsewhere)
    assert beside.object == named.object
    assert beside.object["items"][0]["kind"] == "device_cert"
    assert run("detect", "-", stdin=text, cwd=elsewhere).code == 3


def test_orders_are_answered_with_build(tmp_path: Path) -> None:
    text = csv_text(row(PRIVATE, "key.pem", "file", priv_key_type="rsa_ds", key_size="2048"))
    path = tmp_path / "order.csv"
    path.write_bytes(text)
    for verb in (["detect"], ["inspect"], ["verify"], ["migrate", "--dry-run"]):
        result = run(*verb, "--json", path)
        assert (result.code, result.out) == (2, "")
        assert "espcert build" in result.err
        assert result.err.count("\n") == 1


HOSTILE = {
    "parent": row(CERT, "../secret.pem", "file"),
    "absolute": row(CERT, "/etc/hostname", "file"),
    "link": row(CERT, "link.pem", "file"),
    "escapes": row(CERT, "\x1b[31mred\x1b[0m.pem", "file"),
    "newline": row(CERT, "a\nb.pem", "file"),
    "formula": row(CERT, "=cmd|' /C calc'!A0", "file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_rows(case: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "csv", tmp_path / "out.bin"
    folder.mkdir()
    (tmp_path / "secret.pem").write_bytes(PEM)
    (folder / "link.pem").symlink_to(tmp_path / "secret.pem")
    path = folder / "in.csv"
    path.write_bytes(csv_text(HOSTILE[case]))
    result = run("migrate", path, "-o", out)
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith(f"espcert: {path}: line ")
    assert result.err.count("\n") == 1
    assert controls(result.err) == set()
    assert_no_output(out)
    error = run("detect", "--json", path).object
    assert valid("error", error)


def test_a_million_columns(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(csv_text().rstrip() + b"," * 1_000_000 + b"\n")
    started = time.monotonic()
    result = run("detect", path)
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert time.monotonic() - started < 5


def test_the_tools_own_files_are_read(tmp_path: Path) -> None:
    """What `--parse_bin` writes, with the files in the places that it names."""
    image = real_image("tlv_from_csv/partition.bin")
    folder = IMAGES / "tlv_from_csv"
    (tmp_path / "contents").mkdir()
    shutil.copyfile(folder / "expected-parsed.csv", tmp_path / "parsed.csv")
    for name, source in (
        *(("cacert_0_0.pem", "cacert.pem"), ("cacert_0_1.pem", "cacert.pem")),
        *(("devcert_1_0.pem", "client.crt"), ("privkey_2_0.pem", "client.key")),
    ):
        shutil.copyfile(folder / source, tmp_path / "contents" / name)
    material = [one for one in tlv.read(image).items if one.kind not in SEALS]
    wanted = [(one.kind, one.index, len(one.data)) for one in material]
    for path in (tmp_path / "parsed.csv", folder / "esp_secure_cert_config_examples.csv"):
        found = run("inspect", "--json", path).object["items"]
        assert [(one["kind"], one["index"], one["length"]) for one in found] == wanted
        out = tmp_path / "out.bin"
        assert run("migrate", "--force", "--at", "2026-01-01", path, "-o", out).code == 0
        assert out.read_bytes() == image.ljust(0x2000, b"\xff")


# --- PEM directories ---------------------------------------------------------------------------


def test_a_directory_without_an_index(tmp_path: Path) -> None:
    write({"device_cert.pem": CHAIN, "notes.txt": b"mine"}, tmp_path)
    result = run("inspect", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert "not taken: notes.txt" in result.out
    (found,) = run("inspect", "--json", tmp_path).object["items"]
    assert (found["length"], found["certificates"]) == (len(CHAIN) + 1, 2)


def test_other_directories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(PEM)
    result = run("detect", "--json", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert f"{tmp_path}: is a directory, not a file; a PEM directory has items.json" in result.err


def test_a_name_with_escapes_is_safe_to_print(tmp_path: Path) -> None:
    write({"device_cert.pem": PEM, "\x1b[31mred.pem": PEM}, tmp_path)
    for arguments in (["detect"], ["inspect"], ["verify", "--at", "2030-01-01"]):
        result = run(*arguments, tmp_path)
        assert controls(result.text) == set()


@pytest.mark.skipif(os.name != "posix", reason="devices are POSIX'")
def test_a_device_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "private_key.pem").symlink_to("/dev/zero")
    out = tmp_path / "out.bin"
    result = run("migrate", tmp_path, "-o", out)
    assert (result.code, result.out, result.err.count("\n")) == (3, "", 1)
    assert_no_output(out)


def test_an_index_that_lies(tmp_path: Path) -> None:
    path = made("pem", "tlv_rsa", tmp_path)
    index = json.loads((path / "items.json").read_text())
    index["items"][0]["file"] = "../../etc/passwd"
    (path / "items.json").write_text(json.dumps(index))
    result = run("inspect", "--json", path)
    assert result.code == 3
    assert result.object["error"]["code"] == "malformed-directory"
    assert valid("error", result.object)


# --- Secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_printed(kind: str, tmp_path: Path) -> None:
    path = made(kind, "tlv_ec", tmp_path)
    secret = KEY.decode().splitlines()[1]
    for verb in (["detect"], ["inspect"], ["verify"], ["migrate", "--dry-run"]):
        for form in ([], ["--json"]):
            assert secret not in run(*verb, *form, path).text


@pytest.mark.parametrize("name", [Path(one["file"]).stem for one in fixture_truth()])
def test_every_fixture_reads_the_same_from_its_files(name: str, tmp_path: Path) -> None:
    """What `inspect --extract` writes is inspected as the image is, places and checksums aside."""
    source = run("inspect", "--json", "--extract", tmp_path, fixture(name)).object["items"]
    found = run("inspect", "--json", tmp_path / name).object["items"]
    for item in (*source, *found):
        for field in ("offset", "entry_offset", "intact", "spans"):
            item.pop(field, None)
    assert found == source
