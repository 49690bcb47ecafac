"""Manifests of dumps under flash encryption: the answers of the single verbs, and no key told."""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import run
from tests.cli.test_encrypted_flash import LEGACY, TLV, flash
from tests.cli.test_fleet import AT, JOURNAL, fleet
from tests.flash_cipher import ESP32, XTS_128, Scheme

COLUMNS = ("image", "chip", "flash_encryption_key", "flash_address")
BARE = 0xD000


class Module:
    """An image with its row of the manifest and the options of a single verb for it."""

    def __init__(self, folder: Path, name: str, scheme: Scheme, *, bare: bool) -> None:
        held = TLV if bare else LEGACY
        data = scheme.encrypt(held, BARE) if bare else flash(scheme, held).data
        self.path = folder / f"{name}.bin"
        self.path.write_bytes(data)
        chip = "esp32" if scheme is ESP32 else ""
        self.scheme = scheme
        keys = folder / f"{name}.keys"
        keys.mkdir()
        self.options = [*scheme.options(keys), *(("--chip", chip) if chip else ())]
        self.options += ["--flash-address", hex(BARE)] if bare else []
        address = hex(BARE) if bare else ""
        self.row = (self.path.name, chip, f"{keys.name}/flash.key", address)


@pytest.fixture
def modules(tmp_path: Path) -> dict[str, Module]:
    """Modules by the path of the image, with `fleet.csv` beside them."""
    folder = tmp_path / "in"
    folder.mkdir()
    made = [
        Module(folder, f"{name}-{bare:d}", scheme, bare=bare)
        for name, scheme in (("xts128", XTS_128), ("esp32", ESP32))
        for bare in (False, True)
    ]
    with (folder / "fleet.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *(one.row for one in made)])
    return {str(one.path): one for one in made}


def check_no_key(told: bytes) -> None:
    """No key in any form that bytes are written in."""
    for scheme in (XTS_128, ESP32):
        key = scheme.key
        for form in (key, key.hex().encode(), key.hex().upper().encode(), base64.b64encode(key)):
            assert form not in told
            assert form[: len(form) // 2] not in told


def check_same(record: dict[str, Any], single: dict[str, Any], *but: str) -> None:
    """All that the single verb tells, the names of files aside."""
    assert len(single) > 10
    for name in set(single) - {"file", *but}:
        assert record[name] == single[name], name


def test_an_audit_of_encrypted_flashes(modules: dict[str, Module], tmp_path: Path) -> None:
    reports = [one for end in ("jsonl", "csv", "sarif", "xml") for one in ("--report", f"r.{end}")]
    more = ("--json", "--journal", "j", *reports)
    done = fleet("audit", "in/fleet.csv", *AT, *more, cwd=tmp_path)
    found = {str(tmp_path / record["source"]): record for record in done.objects}
    assert set(found) == set(modules)
    for path, module in modules.items():
        single = run("verify", "--json", *AT, *module.options, path).object
        assert single["layout"] is not None
        assert "decrypted" in single["evidence"][-1]
        check_same(found[path], single)
    told = [done.text.encode(), *(one.read_bytes() for one in tmp_path.glob("*") if one.is_file())]
    assert len(told) == 6
    check_no_key(b"".join(told))


def test_a_migration_of_encrypted_flashes(modules: dict[str, Module], tmp_path: Path) -> None:
    out = tmp_path / "out"
    same = ("--partition-only", "--json", *AT)
    done = fleet("migrate", tmp_path / "in" / "fleet.csv", "-o", out, *same)
    assert len(done.objects) == len(modules)
    for record in done.objects:
        module, other = modules[record["source"]], tmp_path / "single.bin"
        other.unlink(missing_ok=True)
        single = run("migrate", *same, *module.options, module.path, "-o", other).object
        assert (out / module.path.name).read_bytes() == other.read_bytes()
        assert record["flash_command"].replace(record["output"], str(other)) == single[
            "flash_command"
        ]  # fmt: skip
        check_same(record, single, "output", "flash_command")
    check_no_key(done.text.encode() + (out / JOURNAL).read_bytes())


WRONG = {
    "key": (0, "wrong.key", "", 3, "key, address or scheme does not fit"),
    "address": (1, None, "0xe000", 3, "key, address or scheme does not fit"),
    "no address": (1, None, "", 2, "--flash-address"),
    "length of the key": (0, "short.key", "", 2, "has 9 bytes, expected one of 16, 32, 64"),
    "no key file": (0, "none.key", "", 2, "no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_record(
    case: str, modules: dict[str, Module], tmp_path: Path
) -> None:
    """The module's own failure; the one beside it is done."""
    number, key, address, code, text = WRONG[case]
    folder = tmp_path / "in"
    (folder / "wrong.key").write_bytes(XTS_128.wrong)
    (folder / "short.key").write_bytes(XTS_128.key[:9])
    one, other = list(modules.values())[number], list(modules.values())[2]
    rows = [COLUMNS, (one.path.name, "", key or one.row[2], address), other.row]
    with (folder / "wrong.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = fleet("audit", folder / "wrong.csv", *AT, "--json")
    assert done.code == code
    failed, good = sorted(done.objects, key=lambda record: record["status"], reverse=True)
    assert (failed["status"], failed["exit_code"]) == ("failed", code)
    assert text in failed["error"]["message"]
    assert (good["status"], good["layout"]) == ("done", "cust_flash_legacy")
    check_no_key(done.text.encode())
