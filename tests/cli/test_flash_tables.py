"""Partition tables in whole flash images: the official tool's bytes, decoys, hostile rows."""

from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.runner import assert_no_output, controls, fixture, run
from tests.support import FIXTURES

import espcert
from espcert import image as images
from espcert import migration
from espcert_formats import partition_table

FOLDER = FIXTURES / "tables"
SOURCES = {
    "cust_flash_legacy": "cust_flash_legacy_ec",
    "nvs": "nvs_ec",
    "nvs_legacy": "nvs_legacy_ds_c3",
    "nvs_esp_ds": "nvs_esp_ds_c3",
}
GOLDEN = sorted(path.name.removesuffix(".before.bin") for path in FOLDER.glob("*.before.bin"))
TLV = Path(fixture("tlv_ec")).read_bytes()
LEGACY = Path(fixture("cust_flash_legacy_ec")).read_bytes()

RawRow = tuple[bytes, int, int, int, int, int]
"""Label, type, subtype, offset, size, flags."""


def table(rows: list[RawRow], *, digest: bytes | None = None) -> bytes:
    """A table of 0xC00 bytes, its MD5 row right unless another digest is given."""
    body = b"".join(
        struct.pack("<2sBBLL16sL", b"\xaa\x50", *row[1:5], row[0], row[5]) for row in rows
    )
    made = hashlib.md5(body).digest() if digest is None else digest
    return (body + b"\xeb\xeb".ljust(16, b"\xff") + made).ljust(0xC00, b"\xff")


def put(image: bytearray, at: int, data: bytes, size: int = 0) -> None:
    data = data.ljust(size, b"\xff")
    image[at : at + len(data)] = data


def noise(size: int, seed: str = "noise") -> bytearray:
    """Bytes of other partitions; the first sector is a bootloader's."""
    made = bytearray(random.Random(seed).randbytes(size))
    made[:0x1000] = b"\xff" * 0x1000
    return made


# --- The official tool's tables ----------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_migrate_writes_the_table_of_the_official_tool(name: str, tmp_path: Path) -> None:
    """In the flash image and beside it, before and after by gen_esp32part.py."""
    before, after = ((FOLDER / f"{name}.{when}.bin").read_bytes() for when in ("before", "after"))
    at = int(name.rpartition("_")[2], 16)
    source = next(one for one in sorted(SOURCES, key=len, reverse=True) if name.startswith(one))
    found = partition_table.read(before)
    assert found is not None
    (row,) = [one for one in found.rows if one.label in (b"pre_prov", b"esp_secure_cert")]
    image = noise(0x40000)
    put(image, at, before, 0x1000)
    put(image, row.offset, Path(fixture(SOURCES[source])).read_bytes(), row.size)
    path, out, binary = (tmp_path / one for one in ("flash.bin", "new.bin", "table.bin"))
    path.write_bytes(image)
    result = run("migrate", path, "-o", out, "--table-out", binary)
    assert result.code == 0, result.err
    assert binary.read_bytes() == after
    made = out.read_bytes()
    assert made[at : at + 0xC00] == after
    kept = bytearray(image)
    put(kept, at, after)
    put(kept, row.offset, made[row.offset : row.offset + row.size])
    assert made == kept


# --- Decoys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "start"), [(0x8000, 0x10000), (0xC000, 0xD000)])
def test_decoys_stay_as_they_are(at: int, start: int, tmp_path: Path) -> None:
    """Look-alikes everywhere: tables, partitions with credentials outside of any row, in others."""
    rows = [
        (b"pre_prov", 0x3F, 6, start, 0x6000, 0),
        (b"factory", 0, 0, 0x20000, 0x10000, 0),
        (b"storage", 1, 0x82, 0x30000, 0x8000, 0),
    ]
    image = noise(0x40000)
    put(image, at, table(rows), 0x1000)
    put(image, start, LEGACY, 0x6000)
    put(image, 0x21000, table([(b"esp_secure_cert", 0x3F, 6, 0x22000, 0x2000, 0)]))
    put(image, 0x22000, TLV)
    put(image, 0x31000, TLV)
    put(image, 0x38000, LEGACY)
    put(image, 0x3F000, table([(b"pre_prov", 0x3F, 6, 0x38000, 0x6000, 0)]))
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    assert run("migrate", path, "-o", out).code == 0
    made = bytearray(out.read_bytes())
    changed = [(b"esp_secure_cert", 0x3F, 6, start, 0x6000, 0), *rows[1:]]
    put(image, at, table(changed))
    put(image, start, bytes(made[start : start + 0x6000]))
    assert made == image
    assert run("detect", "--json", out).object["layout"] == "tlv"


@st.composite
def modules(draw: st.DrawFn) -> tuple[bytes, int, int, int]:
    """A flash image with random partitions around the credentials; table, start and size."""
    at = draw(st.sampled_from([0x8000, 0x9000, 0xC000, 0x10000, 0x5000]))
    sectors = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    mine = draw(st.integers(0, len(sectors) - 1))
    sectors[mine] = draw(st.integers(6, 9))
    rows: list[RawRow] = []
    start = at + 0x1000
    for number, count in enumerate(sectors):
        start += 0x1000 * draw(st.integers(0, 3))
        size = 0x1000 * count
        flags = draw(st.integers(0, 3))
        label = draw(st.binary(min_size=1, max_size=16)).replace(b"\0", b"x")
        other = (label, draw(st.integers(0, 0x3E)), draw(st.integers(0, 255)))
        own = (b"pre_prov", 0x3F, 6)
        rows.append((*(own if number == mine else other), start, size, flags))
        start += size
    image = noise(start + 0x1000, str(start))
    put(image, at, table(draw(st.permutations(rows))), 0x1000)
    put(image, rows[mine][3], LEGACY, rows[mine][4])
    return bytes(image), at, rows[mine][3], rows[mine][4]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules())
def test_all_other_bytes_stay_wherever_things_lie(module: tuple[bytes, int, int, int]) -> None:
    data, at, start, size = module
    reading = espcert.detect(images.locate(data, label="pre_prov"))
    result = migration.migrate(reading)
    made = result.file
    assert made is not None, result.findings
    assert len(made) == len(data)
    outside = bytearray(made)
    put(outside, at, data[at : at + 0xC00])
    put(outside, start, data[start : start + size])
    assert outside == data
    before, after = (partition_table.read(one, at) for one in (data, made))
    assert before is not None
    assert after is not None
    assert after.md5_ok is True
    differing = [pair for pair in zip(before.rows, after.rows, strict=True) if pair[0] != pair[1]]
    assert [(old.label, new.label) for old, new in differing] == [(b"pre_prov", b"esp_secure_cert")]


# --- Hostile tables ----------------------------------------------------------------------------

MINE = (b"esp_secure_cert", 0x3F, 6, 0xD000, 0x2000, 0)


def flash(*rows: RawRow, digest: bytes | None = None) -> bytes:
    image = bytearray(b"\xff" * 0x20000)
    put(image, 0x8000, table(list(rows), digest=digest))
    put(image, 0xD000, TLV)
    return bytes(image)


def many(count: int) -> list[RawRow]:
    return [(b"p%d" % n, 0x40, 0, 0x20000 + n * 0x1000, 0x1000, 0) for n in range(count)]


HOSTILE = {
    "overlapping": ("table-overlap", flash(MINE, (b"a", 1, 2, 0xC000, 0x2000, 0))),
    "inside": ("table-overlap", flash(MINE, (b"a", 1, 2, 0xE000, 0x1000, 0))),
    "everything": ("table-overlap", flash(MINE, (b"a", 1, 2, 0, 0xFFFFFFFF, 0))),
    "unaligned": ("table-row", flash(MINE, (b"a", 1, 2, 0x10800, 0x1000, 0))),
    "empty": ("table-row", flash(MINE, (b"a", 1, 2, 0x10000, 0, 0))),
    "wrong md5": ("table-md5", flash(MINE, digest=bytes(16))),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tables_are_told_and_not_changed(case: str, tmp_path: Path) -> None:
    code, image = HOSTILE[case]
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    told = run("verify", "--json", path, "--label", "esp_secure_cert").object["findings"]
    assert code in {finding["code"] for finding in told}
    assert run("partitions", path).code == 0
    result = run("migrate", path, "-o", out, "--label", "esp_secure_cert")
    assert (result.code, result.out) == (1, "")
    assert code in result.err
    assert_no_output(out)


@pytest.mark.parametrize("offset", [0x1F000, 0x20000, 0x7FFFF000, 0xFFFFE000, 0xFFFFF000])
def test_a_row_that_reaches_out_of_the_file(offset: int, tmp_path: Path) -> None:
    """Read as far as it goes; one line where it would be written."""
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(flash((b"esp_secure_cert", 0x3F, 6, offset, 0x2000, 0)))
    for verb in ("detect", "inspect", "verify", "partitions"):
        result = run(verb, path)
        assert result.code in (0, 1, 3)
        assert "Traceback" not in result.err
    result = run("migrate", path, "-o", out)
    assert result.code in (1, 2, 3)
    assert result.err.startswith("espcert: ")
    assert_no_output(out)


@pytest.mark.parametrize("count", [94, 95])
def test_a_full_table(count: int, tmp_path: Path) -> None:
    """94 rows with the MD5 row and an end; 95 with the MD5 row fill all of 0xC00 bytes."""
    old = (b"pre_prov", 0x3F, 6, 0x10000, 0x6000, 0)
    rows = [*many(count - 1), old]
    image = bytearray(b"\xff" * 0x20000)
    put(image, 0x8000, table(rows))
    put(image, 0x10000, LEGACY, 0x6000)
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    listed = run("partitions", "--json", path).object
    assert (len(listed["rows"]), listed["md5_ok"]) == (count, True)
    assert run("migrate", path, "-o", out).code == 0
    new = (b"esp_secure_cert", 0x3F, 6, 0x10000, 0x6000, 0)
    assert out.read_bytes()[0x8000:0x8C00] == table([*rows[:-1], new])


LABELS = {
    "no nul": b"sixteen_bytes_ab",
    "escape": b"\x1b[31mred\x07",
    "line break": b"a\nespcert: done",
    "bidi": "\u202egnp".encode(),
    "no utf-8": b"\xff\xfe\x80",
    "empty": b"",
    "comma": b"a,b",
    "comment": b"#a",
    "variable": b"$HOME",
    "space": b" a ",
}


@pytest.mark.parametrize("case", LABELS)
def test_hostile_labels(case: str, tmp_path: Path) -> None:
    """Shown without control bytes, kept byte for byte in the table, never wrong in a CSV."""
    other = (LABELS[case], 0x40, 0, 0x10000, 0x1000, 0)
    old = (b"esp_secure_cert", 0x3F, 0x42, 0xD000, 0x2000, 0)
    path, out, csv = (tmp_path / one for one in ("flash.bin", "new.bin", "table.csv"))
    path.write_bytes(flash(old, other))
    for verb in ("detect", "inspect", "verify", "partitions"):
        result = run(verb, path)
        assert result.code == 0
        assert controls(result.text) == set()
        assert controls(run(verb, "--json", path).out) == set()
    result = run("migrate", path, "-o", out, "--partition-only")
    assert result.code == 0
    out.unlink()
    result = run("migrate", path, "-o", out, "--encrypted", "--table-out", csv)
    if case == "no nul":
        assert result.code == 0
        assert "sixteen_bytes_ab, 0x40, 0x00, 0x10000, 0x1000," in csv.read_text().splitlines()
        return
    assert (result.code, result.out) == (2, "")
    assert "CSV" in result.err
    assert controls(result.err) == set()
    assert_no_output(out)
    assert_no_output(csv)
    result = run("migrate", path, "-o", out, "--encrypted", "--table-out", tmp_path / "table.bin")
    assert result.code == 0
    assert (tmp_path / "table.bin").read_bytes() == table([(*old[:5], 1), other])


def test_flags_that_a_csv_cannot_say(tmp_path: Path) -> None:
    path, out, csv = (tmp_path / one for one in ("flash.bin", "new.bin", "table.csv"))
    path.write_bytes(flash(MINE, (b"a", 0x40, 0, 0x10000, 0x1000, 0x84)))
    result = run("migrate", path, "-o", out, "--encrypted", "--table-out", csv)
    assert (result.code, result.out) == (2, "")
    assert "0x84" in result.err
    assert_no_output(csv)
    assert_no_output(out)
