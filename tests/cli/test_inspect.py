"""`espcert inspect`: items in JSON and for people, the map, and the files it extracts."""

from __future__ import annotations

import json
import os
import re
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import INPUTS, fixture, run
from tests.support import crc, fixture_truth, sha256

Row = dict[str, Any]
TRUTH = {Path(row["file"]).stem: row for row in fixture_truth()}
ONE_OF_EACH = {row["layout"]: name for name, row in TRUTH.items()}
posix_modes = pytest.mark.skipif(os.name == "nt", reason="modes mean nothing there")


@pytest.fixture(scope="module")
def inspected() -> dict[str, Row]:
    """What inspect says of each fixture, all in one run."""
    result = run("inspect", "--json", *map(fixture, TRUTH))
    assert (result.code, result.err) == (0, "")
    return dict(zip(TRUTH, result.objects, strict=True))


@pytest.mark.parametrize("name", TRUTH)
def test_items_lie_where_they_are_said_to(inspected: dict[str, Row], name: str) -> None:
    data = Path(fixture(name)).read_bytes()
    items = inspected[name]["items"]
    assert items == sorted(items, key=lambda item: (item["offset"], item["kind"]))
    for item in items:
        if item["kind"] == "ds_context":
            continue
        whole = [{"offset": item["offset"], "length": item["length"]}]
        spans = [(span["offset"], span["length"]) for span in item.get("spans", whole)]
        stored = b"".join(data[at : at + length] for at, length in spans)
        assert (len(stored), sha256(stored)) == (item["length"], item["sha256"])
        if "entry_offset" in item:
            check_entry(data, item)


def check_entry(data: bytes, item: Row) -> None:
    at = item["entry_offset"]
    inside = {"ds_iv": 16, "ds_ciphertext": 32}.get(item["kind"], 12)
    assert item["offset"] == at + inside
    assert data[at : at + 4] == b"\x11\xba\x5e\xba"
    assert (data[at + 4], data[at + 9]) == (item["flags"], item["index"])


@pytest.mark.parametrize("name", TRUTH)
def test_damage_is_shown_and_nothing_else(inspected: dict[str, Row], name: str) -> None:
    damaged = set(TRUTH[name].get("damaged", ()))
    for item in inspected[name]["items"]:
        assert (item["intact"] is False) == (item["kind"] in damaged)


def test_certificate_fields(inspected: dict[str, Row]) -> None:
    found = {item["kind"]: item for item in inspected["tlv_rsa"]["items"]}
    device = found["device_cert"]
    shown = {name: device[name] for name in ("encoding", "certificates", "subject", "public_key")}
    assert shown == {
        "encoding": "pem",
        "certificates": 1,
        "subject": "CN=espcert test device RSA 2048",
        "public_key": "RSA 2048",
    }
    assert device["issuer"] == found["ca_cert"]["subject"]
    assert device["not_before"] == "2020-01-01T00:00:00Z"
    key = found["private_key"]
    assert (key["protection"], key["encoding"]) == ("plaintext", "pem")
    assert key["algorithm"] == "RSA 2048"


def test_chain_is_counted(inspected: dict[str, Row]) -> None:
    (chain,) = [i for i in inspected["tlv_chain"]["items"] if i["kind"] == "device_cert"]
    assert chain["certificates"] == 2


@pytest.mark.parametrize("name", TRUTH)
def test_protection(inspected: dict[str, Row], name: str) -> None:
    def keys(row: Row) -> list[tuple[int, str]]:
        found = [item for item in row["items"] if item["kind"] == "private_key"]
        return sorted((item["index"], item["protection"]) for item in found)

    assert keys(inspected[name]) == keys(TRUTH[name])


def test_other_entries_are_listed(inspected: dict[str, Row]) -> None:
    entries = inspected["nvs_other_data"]["other_entries"]
    ssid = {"namespace": "app", "key": "ssid", "type": "string", "length": len("test-wifi\0")}
    assert ssid in entries
    assert {(entry["namespace"], entry["key"]) for entry in entries} == {
        *(("app", "ssid"), ("app", "boots"), ("app", "calib")),
        ("esp_secure_cert", "note"),
    }


def test_security_config_names_the_efuse_block(inspected: dict[str, Row]) -> None:
    items = inspected["tlv_ecdsa_peripheral"]["items"]
    (config,) = [item for item in items if item["kind"] == "security_config"]
    assert config["efuse_block"] == 2 + 4


@pytest.mark.parametrize("layout", sorted(ONE_OF_EACH))
def test_human_form(layout: str) -> None:
    name = ONE_OF_EACH[layout]
    result = run("inspect", fixture(name))
    assert (result.code, result.err) == (0, "")
    for item in TRUTH[name]["items"]:
        assert item["kind"] in result.out
    assert layout in result.out.splitlines()[0]


def test_human_form_shows_damage() -> None:
    assert "WRONG" in run("inspect", fixture("tlv_damaged_ca")).out
    assert "WRONG" not in run("inspect", fixture("tlv_ec")).out


# --- The map -----------------------------------------------------------------------------------


def dump_lines(text: str) -> list[str]:
    """The lines of the hex dump: an address of eight digits first."""
    return [line for line in text.splitlines() if re.match("[0-9a-f]{8}  ", line)]


def shown_bytes(text: str) -> dict[int, str]:
    """Address → what is drawn for that byte, line by line."""
    cells: dict[int, str] = {}
    for line in dump_lines(text):
        start = int(line[:8], 16)
        column = start % 16
        hexes = line[10 : 10 + 47]
        for place in range(column, 16):
            cell = hexes[place * 3 : place * 3 + 2]
            if cell.strip():
                cells[start - column + place] = cell
    return cells


SECRET_KINDS = ("private_key", "tee_key", "ecdsa_salt", "user_data", "matter", "unknown")


@pytest.mark.parametrize("name", ["tlv_every_type", "nvs_ec", "cust_flash_rsa", "tlv_hmac_derived"])
def test_map_masks_secrets(inspected: dict[str, Row], name: str) -> None:
    data = Path(fixture(name)).read_bytes()
    cells = shown_bytes(run("inspect", "--map", fixture(name)).out)
    open_cells = shown_bytes(run("inspect", "--map", "--show-secrets", fixture(name)).out)
    for item in inspected[name]["items"]:
        secret = item["kind"].startswith(SECRET_KINDS)
        for at in range(item["offset"], item["offset"] + item.get("length", 0)):
            if at in cells:
                assert cells[at] == ("··" if secret else f"{data[at]:02x}"), hex(at)
            if at in open_cells:
                assert open_cells[at] == f"{data[at]:02x}"


def test_map_draws_every_byte_or_a_repetition() -> None:
    data = Path(fixture("tlv_ec")).read_bytes()
    text = run("inspect", "--map", "--show-secrets", fixture("tlv_ec")).out
    cells = shown_bytes(text)
    assert {at: f"{data[at]:02x}" for at in cells} == cells
    assert set(range(len(data))) - set(cells) == set()


def test_map_names_the_fields() -> None:
    text = run("inspect", "--map", fixture("cust_flash_rsa")).out
    for name in ("magic", "device_cert", "ca_cert", "priv_key"):
        assert name in text, name


DAMAGED: dict[str, tuple[str, int, bytes]] = {
    "tlv cut": ("tlv_ec", 1300, b""),
    "tlv cut in a header": ("tlv_ec", 551, b""),
    "tlv magic alone": ("tlv_ec", 4, b""),
    "cust_flash cut": ("cust_flash_rsa", 7000, b""),
    "cust_flash cut in the metadata": ("cust_flash_rsa", 40, b""),
    "nvs cut": ("nvs_ec", 1000, b""),
    "nvs with zeros behind": ("nvs_ec", 4096, bytes(8192)),
}
"""A fixture, how much of it is left, and what follows."""


@pytest.mark.parametrize("case", DAMAGED)
def test_map_of_a_damaged_image(case: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.bin"
    name, length, tail = DAMAGED[case]
    path.write_bytes(Path(fixture(name)).read_bytes()[:length] + tail)
    result = run("inspect", "--map", path)
    assert result.code in (0, 3)
    assert result.code == 3 or shown_bytes(result.out)
    secret = (INPUTS / "ec_device.key").read_text().splitlines()[1]
    assert secret.encode().hex(" ")[:47] not in result.out


@pytest.mark.parametrize("name", ["nvs_lost_key", "tlv_damaged_ca", "nvs_worn", "nvs_freeing"])
def test_map_of_a_worn_fixture_shows_no_key(name: str) -> None:
    cells = shown_bytes(run("inspect", "--map", fixture(name)).out)
    drawn = "".join(cells[at] for at in sorted(cells))
    assert b"PRIVATE KEY".hex() not in drawn


def test_a_wrong_length_shows_no_key_behind_a_certificate(tmp_path: Path) -> None:
    """One flipped bit in the metadata makes the certificate's area reach over the DER key."""
    image = bytearray(Path(fixture("cust_flash_der_no_ca")).read_bytes())
    pem = (INPUTS / "ec_device.pem").read_bytes() + b"\0"
    image[64 : 64 + len(pem)] = pem
    struct.pack_into("<IH", image, 0, crc(pem), len(pem) ^ 0x2000)
    key = (INPUTS / "ec_device.key.der").read_bytes()
    assert image[6208 : 6208 + len(key)] == key
    path = tmp_path / "damaged.bin"
    path.write_bytes(image)
    result = run("inspect", "--map", path)
    assert result.code == 0
    cells = shown_bytes(result.out)
    drawn = {cells[at] for at in range(6208, 6208 + len(key)) if at in cells}
    assert drawn <= {"··"}


def tlv_entry(kind: int, data: bytes) -> bytes:
    """A TLV entry by the test's own hand."""
    body = struct.pack("<4s4xBBH", b"\x11\xba\x5e\xba", kind, 0, len(data)) + data
    body += bytes(-len(data) % 16)
    return body + struct.pack("<I", crc(body))


def test_a_wrong_length_of_a_tlv_entry_shows_no_key(tmp_path: Path) -> None:
    """One flipped bit makes a CA certificate's entry reach over the DER key behind it."""
    ca = (INPUTS / "ec_ca.pem").read_bytes() + b"\0"
    key = (INPUTS / "ec_device.key.der").read_bytes()
    image = bytearray(tlv_entry(0, ca) + tlv_entry(2, key)).ljust(0x2000, b"\xff")
    at = image.index(key)
    image[11] ^= 0x04
    path = tmp_path / "damaged.bin"
    path.write_bytes(image)
    cells = shown_bytes(run("inspect", "--map", path).out)
    assert {cells[address] for address in range(at, at + len(key)) if address in cells} <= {"··"}


# --- Extracted files ---------------------------------------------------------------------------


def extracted(name: str, folder: Path) -> Path:
    result = run("inspect", "--extract", folder, fixture(name))
    assert result.code == 0, result.err
    return folder / name


@posix_modes
@pytest.mark.parametrize("name", ["tlv_rsa", "nvs_ds_s2_two_pages", "tlv_every_type"])
def test_extracted_files_are_private(name: str, tmp_path: Path) -> None:
    files = list(extracted(name, tmp_path / "new" / "folder").iterdir())
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_extracted_pem_is_the_input(tmp_path: Path) -> None:
    folder = extracted("tlv_rsa", tmp_path)
    names = {"device_cert.pem", "ca_cert.pem", "private_key.pem", "integrity_0.bin", "items.json"}
    assert {path.name for path in folder.iterdir()} == names
    for kind, source in (("device_cert", "rsa_device.pem"), ("private_key", "rsa_device.key")):
        assert (folder / f"{kind}.pem").read_bytes() == (INPUTS / source).read_bytes()


def test_extracted_der_keeps_its_bytes(tmp_path: Path) -> None:
    folder = extracted("tlv_der", tmp_path)
    assert (folder / "device_cert.der").read_bytes() == (INPUTS / "ec_device.der").read_bytes()


@pytest.mark.parametrize("name", ["tlv_every_type", "nvs_legacy_chain", "tlv_no_nul", "tlv_ds_c3"])
def test_index_makes_the_files_exact(name: str, tmp_path: Path) -> None:
    """Each item's stored bytes come back from its file and the index."""
    folder = extracted(name, tmp_path)
    index = json.loads((folder / "items.json").read_text("utf-8"))
    assert index["layout"] == TRUTH[name]["layout"]
    found = []
    for item in index["items"]:
        stored = (folder / item["file"]).read_bytes() + (b"\0" if item["nul"] else b"")
        assert len(stored) == item["length"]
        if item["kind"] != "ds_context":
            found.append((item["kind"], item["index"], sha256(stored)))
    expected = [row for row in TRUTH[name]["items"] if row["kind"] != "ds_context"]
    assert sorted(found) == sorted((r["kind"], r["index"], r["sha256"]) for r in expected)


def test_extract_overwrites_nothing_without_force(tmp_path: Path) -> None:
    folder = tmp_path / "tlv_ec"
    folder.mkdir()
    (folder / "device_cert.pem").write_text("mine")
    result = run("inspect", "--json", "--extract", tmp_path, fixture("tlv_ec"))
    assert (result.code, result.out) == (2, "")
    assert [path.name for path in folder.iterdir()] == ["device_cert.pem"]
    assert (folder / "device_cert.pem").read_text() == "mine"
    assert run("inspect", "--extract", tmp_path, "--force", fixture("tlv_ec")).code == 0
    stored = (INPUTS / "ec_device.pem").read_text()
    assert (folder / "device_cert.pem").read_text() == stored


def test_extract_of_two_images_with_one_name(tmp_path: Path) -> None:
    other = tmp_path / "tlv_ec.img"
    other.write_bytes(Path(fixture("tlv_ec")).read_bytes())
    result = run("inspect", "--extract", tmp_path / "files", fixture("tlv_ec"), other)
    assert (result.code, result.out) == (2, "")
    assert not (tmp_path / "files").exists()


def test_extract_of_several_images(tmp_path: Path) -> None:
    run("inspect", "--quiet", "--extract", tmp_path, fixture("tlv_ec"), fixture("nvs_ec"))
    assert {path.name for path in tmp_path.iterdir()} == {"tlv_ec", "nvs_ec"}


def test_extract_from_standard_input(tmp_path: Path) -> None:
    data = Path(fixture("tlv_ec")).read_bytes()
    assert run("inspect", "--extract", tmp_path, "-", stdin=data).code == 0
    assert (tmp_path / "stdin" / "items.json").exists()


def test_extract_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "tlv_ec").write_text("mine")
    assert run("inspect", "--extract", tmp_path, fixture("tlv_ec")).code == 2
    assert (tmp_path / "tlv_ec").read_text() == "mine"


def test_extract_stays_below_its_directory(tmp_path: Path) -> None:
    """Whatever the image is called."""
    for name in ("...bin", "..bin", ".bin"):
        image = tmp_path / name
        image.write_bytes(Path(fixture("tlv_ec")).read_bytes())
        target = tmp_path / "deep" / "target"
        run("inspect", "--extract", target, image)
        assert not (tmp_path / "deep" / "items.json").exists()
        assert not (target / "items.json").exists()
        image.unlink()


def test_extract_of_an_unreadable_image_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\xff" * 4096)
    assert run("inspect", "--extract", tmp_path / "files", tmp_path / "bad.bin").code == 3
    assert not (tmp_path / "files").exists()
