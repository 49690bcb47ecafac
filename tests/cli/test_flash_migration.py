"""`espcert migrate` on whole flash images: partition and table row, and not one other byte."""

from __future__ import annotations

import os
import random
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.runner import Result, assert_no_output, fixture, run
from tests.cli.test_flash_images import placed
from tests.cli.test_unreadable_images import Rows, table
from tests.support import real_image

from espcert_formats import partition_table

SIZE = 0x40000
SOURCES = {
    "cust_flash_rsa": ("esp_secure_cert", 0x3F, 6, 0x6000),
    "cust_flash_legacy_ec": ("pre_prov", 0x3F, 6, 0x6000),
    "nvs_ec": ("esp_secure_cert", 1, 2, 0x6000),
    "nvs_legacy_ds_c3": ("pre_prov", 1, 2, 0x3000),
    "nvs_esp_ds_c3": ("pre_prov", 1, 2, 0x3000),
    "tlv_2_0": ("esp_secure_cert", 0x3F, 0x42, 0x2000),
    "tlv_ec": ("esp_secure_cert", 0x3F, 6, 0x4000),
}


def module(name: str, at: int, start: int) -> tuple[bytes, Rows, Rows]:
    """A flash image full of other bytes, its rows, and those that it should get."""
    label, kind, subtype, size = SOURCES[name]
    noise = bytearray(random.Random(name).randbytes(SIZE))
    noise[:0x1000] = b"\xff" * 0x1000
    around: Rows = [("nvs", 1, 2, 0x2000, 0x3000), ("factory", 0, 0, 0x30000, 0x10000)]
    old: Rows = [around[0], (label, kind, subtype, start, size), around[1]]
    new_subtype = subtype if kind == 0x3F else 6
    new: Rows = [around[0], ("esp_secure_cert", 0x3F, new_subtype, start, size), around[1]]
    held = Path(fixture(name)).read_bytes().ljust(size, b"\xff")
    noise[at : at + 0x1000] = b"\xff" * 0x1000
    image = placed(bytes(noise), (0x2000, b"\xff" * 0x3000), (at, table(old)), (start, held))
    return image, old, new


def migrate(path: Path, out: Path, *options: str) -> Result:
    return run("migrate", "--json", path, "-o", out, *options)


@pytest.mark.parametrize(("at", "start"), [(0x8000, 0x10000), (0xC000, 0xD000)])
@pytest.mark.parametrize("name", SOURCES)
def test_all_other_bytes_stay(name: str, at: int, start: int, tmp_path: Path) -> None:
    image, old, new = module(name, at, start)
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    result = migrate(path, out)
    assert result.code == 0, result.err
    size = SOURCES[name][3]
    made = out.read_bytes()
    alone = tmp_path / "alone.bin"
    bare = tmp_path / "bare.bin"
    bare.write_bytes(image[start : start + size])
    options = ("--label", SOURCES[name][0])
    assert run("migrate", bare, "-o", alone, *options).code == 0
    assert made == placed(image, (at, table(new)), (start, alone.read_bytes()))
    found = result.object["partition_table"]
    assert (found["before"] == found["after"]) is (old == new)
    assert any("partition table: " in change for change in result.object["changes"]) is (old != new)
    assert result.object["flash_command"] == f"esptool --chip auto write-flash 0x0 {out}"


def test_what_was_made_is_read_and_is_current(tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    assert migrate(path, out).code == 0
    found = run("verify", "--json", out, "--at", "2026-06-01").object
    assert (found["layout"], found["verdict"]) == ("tlv", "ok")
    listed = run("partitions", "--json", out).object
    assert listed["md5_ok"] is True
    assert ("esp_secure_cert", 0x3F, "tlv") in {
        (row["label"], row["type"], row["layout"]) for row in listed["rows"]
    }
    again = migrate(out, tmp_path / "again.bin")
    assert again.object["changes"] == []
    assert (tmp_path / "again.bin").read_bytes() == out.read_bytes()


def test_the_lines_of_the_table(tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    assert migrate(path, out).object["partition_table"] == {
        "before": "pre_prov, 0x3f, 0x06, 0xd000, 0x6000,",
        "after": "esp_secure_cert, 0x3f, 0x06, 0xd000, 0x6000,",
    }


def test_the_partition_alone(tmp_path: Path) -> None:
    image, *_ = module("cust_flash_rsa", 0xC000, 0xD000)
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    result = migrate(path, out, "--partition-only", "--chip", "esp32c3")
    assert result.code == 0
    assert len(out.read_bytes()) == 0x6000
    command = f"esptool --chip esp32c3 write-flash 0xd000 {out}"
    assert result.object["flash_command"] == command
    larger = tmp_path / "larger.bin"
    assert migrate(path, larger, "--partition-only", "--size", "0x8000").code == 0
    assert larger.read_bytes() == out.read_bytes().ljust(0x8000, b"\xff")
    assert migrate(path, tmp_path / "no.bin", "--size", "0x8000").code == 2


def test_the_table_alone_beside(tmp_path: Path) -> None:
    image, _, new = module("nvs_ec", 0x8000, 0x10000)
    path, out, alone = (tmp_path / name for name in ("flash.bin", "new.bin", "table.bin"))
    path.write_bytes(image)
    assert migrate(path, out, "--table-out", str(alone)).code == 0
    assert alone.read_bytes() == table(new)
    assert migrate(path, out, "--table-out", str(out), "--force").code == 2
    bare = fixture("nvs_ec")
    refused = migrate(Path(bare), tmp_path / "x.bin", "--table-out", str(tmp_path / "y.bin"))
    assert refused.code == 2
    assert_no_output(tmp_path / "x.bin")
    assert_no_output(tmp_path / "y.bin")


def test_without_a_table_only_the_partition_can_be_made(tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(placed(b"\xff" * 0x20000, (0xD000, Path(fixture("tlv_2_0")).read_bytes())))
    for options in ((), ("--partition-only",), ("--size", "0x2000")):
        refused = migrate(path, out, *options)
        assert refused.code == 2
        assert "--partition-only" in refused.err
        assert_no_output(out)
    assert migrate(path, out, "--partition-only", "--size", "0x2000").code == 0
    assert len(out.read_bytes()) == 0x2000


def test_a_file_that_ends_before_its_partition(tmp_path: Path) -> None:
    image, *_ = module("tlv_2_0", 0x8000, 0x20000)
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image[:0x21000])
    refused = migrate(path, out)
    assert refused.code == 2
    assert_no_output(out)


def test_a_row_whose_type_contradicts_is_refused(tmp_path: Path) -> None:
    rows: Rows = [("esp_secure_cert", 1, 2, 0xD000, 0x2000)]
    image = placed(
        b"\xff" * 0x20000, (0xC000, table(rows)), (0xD000, Path(fixture("tlv_2_0")).read_bytes())
    )
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(image)
    refused = migrate(path, out)
    assert refused.code == 1
    assert "label-contradiction" in {finding["code"] for finding in refused.object["findings"]}
    assert migrate(path, out, "--accept", "label-contradiction").code == 0


@pytest.mark.parametrize("name", ["cust_flash", "cust_flash_legacy", "nvs", "nvs_legacy"])
def test_real_tables(name: str, tmp_path: Path) -> None:
    listed = real_image(f"{name}/partition-table.bin")
    found = partition_table.read(listed)
    assert found is not None
    (row,) = [one for one in found.rows if one.label in (b"esp_secure_cert", b"pre_prov")]
    whole = placed(
        b"\xff" * (row.offset + row.size),
        (0xC000 if row.offset != 0xC000 else 0x8000, listed),
        (row.offset, real_image(f"{name}/partition.bin")),
    )
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(whole)
    assert migrate(path, out).code == 0
    assert run("partitions", "--json", out).object["md5_ok"] is True


# --- The table ---------------------------------------------------------------------------------

TLV = Path(fixture("tlv_ec")).read_bytes()
MINE = ("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)


def with_rows(*rows: tuple[str, int, int, int, int], spoil: tuple[int, bytes] = (0, b"")) -> bytes:
    """A flash image with these rows and a TLV partition, and bytes spoilt relative to the table."""
    image = placed(b"\xff" * 0x20000, (0x8000, table(list(rows))), (0xD000, TLV))
    return placed(image, (0x8000 + spoil[0], spoil[1]))


TABLES = {
    "table-md5": with_rows(MINE, spoil=(32 + 20, b"\0")),
    "table-overlap": with_rows(MINE, ("nvs", 1, 2, 0xE000, 0x3000)),
    "table-row": with_rows(MINE, ("nvs", 1, 2, 0x10001, 0x3000)),
    "table-duplicate": with_rows(MINE, ("esp_secure_cert", 0x3F, 9, 0x10000, 0x1000)),
    "table-signed": with_rows(MINE, spoil=(0xC00, b"signature")),
}


@pytest.mark.parametrize("code", TABLES)
def test_a_table_that_must_not_be_changed(code: str, tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(TABLES[code])
    told = run("verify", "--json", path, "--at", "2026-06-01").object["findings"]
    assert code in {finding["code"] for finding in told}
    refused = migrate(path, out)
    assert refused.code == 1
    assert {f["code"] for f in refused.object["findings"] if f["severity"] == "error"} == {code}
    assert_no_output(out)
    assert migrate(path, out, "--partition-only").code == 0
    accepted = migrate(path, tmp_path / "accepted.bin", "--accept", code)
    assert accepted.code == 0
    assert any(code in change for change in accepted.object["changes"])


def test_a_partition_over_the_table(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(with_rows(MINE, ("nvs", 1, 2, 0x6000, 0x3000)))
    told = run("verify", "--json", path, "--at", "2026-06-01").object["findings"]
    assert "table-overlap" in {finding["code"] for finding in told}


def test_the_same_row_twice(tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(with_rows(MINE, MINE))
    assert migrate(path, out).code == 3
    named = ("--label", "esp_secure_cert")
    assert migrate(path, out, *named).code == 1
    accepted = ("--accept", "table-overlap", "--accept", "table-duplicate")
    assert migrate(path, out, *named, *accepted).code == 0


@pytest.mark.parametrize("flag", [True, False])
def test_the_flag_of_the_row(flag: bool, tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(with_rows(MINE))
    assert migrate(path, out, "--encrypted").code == 0
    (row,) = run("partitions", "--json", out).object["rows"]
    assert row["flags"] == 1
    option = "--encrypted" if flag else "--no-encrypted"
    again = run("migrate", out, "-o", tmp_path / "again.bin", option)
    assert again.code == 0
    assert ("The flag `encrypted` of the row changes" in again.out) is not flag
    (row,) = run("partitions", "--json", tmp_path / "again.bin").object["rows"]
    assert row["flags"] == flag


# --- What is written beside ---------------------------------------------------------------------

ESPTOOL = """
import sys
from pathlib import Path
arguments = sys.argv[sys.argv.index("no-reset") + 1 :]
verb, places = arguments[0], arguments[1:]
module = Path("module.bin")
flash = bytearray(module.read_bytes())
if verb == "read-flash":
    start, size = int(places[0], 16), int(places[1], 16)
    Path(places[2]).write_bytes(flash[start : start + size])
for offset, name in zip(places[::2], places[1::2], strict=False):
    start, data = int(offset, 16), b"" if verb == "read-flash" else Path(name).read_bytes()
    if verb == "verify-flash":
        assert flash[start : start + len(data)] == data, name
    elif verb == "write-flash":
        end = -(-(start + len(data)) // 4096) * 4096
        flash[start:end] = data.ljust(end - start, bytes([255]))
module.write_bytes(flash)
"""


posix = pytest.mark.skipif(os.name == "nt", reason="the plan is a script for POSIX shells")


class Bench:
    """A module of files beside a plan in a directory of its own, which is never the current one."""

    def __init__(self, root: Path, flash: bytes) -> None:
        self.root, self.flash = root, flash
        self.folder = root / "plans of mine"
        self.plan, self.module = self.folder / "plan.sh", self.folder / "module.bin"
        for folder in (self.folder, root / "bin"):
            folder.mkdir()
        (root / "flash.bin").write_bytes(flash)
        self.module.write_bytes(flash)
        self.module.chmod(0o600)
        tool = root / "bin" / "esptool"
        tool.write_text(f"#!{sys.executable}\n{ESPTOOL}")
        tool.chmod(0o755)

    def migrate(self, *options: str) -> Result:
        plan = str(self.plan.relative_to(self.root))
        made = ("-o", "new file.bin", "--plan-out", plan, *options)
        result = run("migrate", "flash.bin", *made, cwd=self.root)
        assert result.code == 0, result.err
        return result

    def run(
        self, *command: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            command,
            cwd=cwd or self.root,
            env=os.environ | path,
            capture_output=True,
            text=True,
            check=False,
        )


@posix
@pytest.mark.parametrize(
    "options",
    [[], ["--partition-only", "--table-out", "table.bin"], ["--table-out", "table.bin"]],
    ids=["whole", "partition only", "table"],
)
@pytest.mark.parametrize("name", ["cust_flash_legacy_ec", "cust_flash_rsa"])
def test_the_plan_brings_it_to_a_module_and_back(
    name: str, options: list[str], tmp_path: Path
) -> None:
    """Run on a module of files: it ends as the whole new image, and the way back works."""
    bench = Bench(tmp_path, module(name, 0xC000, 0xD000)[0])
    bench.migrate(*options)
    assert run("migrate", "flash.bin", "-o", "whole.bin", cwd=tmp_path).code == 0
    done = bench.run("sh", "plans of mine/plan.sh")
    assert done.returncode == 0, done.stderr
    assert bench.module.read_bytes() == (tmp_path / "whole.bin").read_bytes()
    made = [path for path in bench.folder.iterdir() if path.name not in ("plan.sh", "module.bin")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    back = bench.plan.read_text().splitlines()[-1].removeprefix("# ")
    assert bench.run("sh", "-c", back, cwd=bench.folder).returncode == 0
    assert bench.module.read_bytes() == bench.flash


@posix
def test_a_second_run_of_the_plan_keeps_the_backup(tmp_path: Path) -> None:
    bench = Bench(tmp_path, module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    bench.migrate()
    assert bench.run("sh", bench.plan).returncode == 0
    kept = {path: path.read_bytes() for path in bench.folder.iterdir()}
    assert kept[bench.folder / "backup-partition.bin"] == bench.flash[0xD000:0x13000]
    for gone in (None, "backup-partition.bin", "backup-table.bin"):
        if gone is not None:
            (bench.folder / gone).unlink()
            del kept[bench.folder / gone]
        again = bench.run("sh", bench.plan)
        assert again.returncode == 1
        assert "is there already" in again.stderr
        assert {path: path.read_bytes() for path in bench.folder.iterdir()} == kept


@posix
@pytest.mark.parametrize("at", [0xD000, 0x12FFF, 0xC010], ids=hex)
def test_the_plan_stops_at_another_module(at: int, tmp_path: Path) -> None:
    bench = Bench(tmp_path, module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    bench.migrate()
    other = placed(bench.flash, (at, bytes([bench.flash[at] ^ 1])))
    bench.module.write_bytes(other)
    done = bench.run("sh", bench.plan)
    assert done.returncode == 1
    assert "differs from the dump" in done.stderr
    assert bench.module.read_bytes() == other
    knowingly = [line for line in bench.plan.read_text().splitlines() if line[:5] != "same "]
    bench.plan.write_text("\n".join(knowingly))
    for backup in bench.folder.glob("backup-*"):
        backup.unlink()
    assert bench.run("sh", bench.plan).returncode == 0


@pytest.mark.parametrize("name", ["cust_flash_legacy_ec", "cust_flash_rsa"])
def test_the_steps_of_the_plan_are_numbered(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, module(name, 0xC000, 0xD000)[0])
    bench.migrate()
    text = bench.plan.read_text()
    numbers = re.findall(r"^# (\d+)\. ", text, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    changed = name == "cust_flash_legacy_ec"
    assert ("partition table" in text) is ("Until the next step" in text) is changed


def test_the_plan_says_that_a_flagged_partition_is_plain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, with_rows(MINE))
    bench.migrate()
    assert "--encrypt" not in bench.plan.read_text()
    bench.migrate("--encrypted", "--force")
    assert "write-flash\n# needs --encrypt" in bench.plan.read_text()


@posix
@pytest.mark.parametrize("options", [[], ["--table-out", "plans of mine/table.bin"]])
@pytest.mark.parametrize("name", ["cust_flash_legacy_ec", "cust_flash_rsa"])
def test_the_commands_that_are_printed_do_what_the_plan_does(
    name: str, options: list[str], tmp_path: Path
) -> None:
    bench = Bench(tmp_path, module(name, 0xC000, 0xD000)[0])
    shown = bench.migrate(*options).out
    assert "write-flash 0x0 " not in shown
    plan = "  written   plans of mine/plan.sh (the commands)"
    listed = "  written   plans of mine/table.bin (the new partition table)"
    assert plan in shown.splitlines()
    assert (listed in shown.splitlines()) is bool(options)
    assert "the device may not find its partition" in shown
    bench.module.rename(tmp_path / "module.bin")
    for command in re.findall(r"^       ((?:esptool|dd) .*)$", shown, re.MULTILINE):
        assert bench.run("sh", "-c", command).returncode == 0, command
    assert (tmp_path / "module.bin").read_bytes() == (tmp_path / "new file.bin").read_bytes()
    (back,) = re.findall(r"^  way back  (esptool .*)$", shown, re.MULTILINE)
    assert bench.run("sh", "-c", back).returncode == 0
    assert (tmp_path / "module.bin").read_bytes() == bench.flash


def test_without_the_new_table_one_command_is_printed(tmp_path: Path) -> None:
    (tmp_path / "flash.bin").write_bytes(module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    options = ("--partition-only", "--chip", "esp32")
    shown = run("migrate", "flash.bin", "-o", "new.bin", *options, cwd=tmp_path).out
    last = "  to flash  esptool --chip esp32 --after no-reset write-flash 0xd000 new.bin"
    assert shown.splitlines()[-1] == last


@pytest.mark.parametrize("dry", [True, False])
def test_what_is_written_beside_is_told(dry: bool, tmp_path: Path) -> None:
    (tmp_path / "flash.bin").write_bytes(module("nvs_ec", 0xC000, 0xD000)[0])
    beside = ("--table-out", "table.csv", "--plan-out", "plan.sh", *(["--dry-run"] if dry else []))
    found = run("migrate", "--json", "flash.bin", "-o", "new.bin", *beside, cwd=tmp_path).object
    told = (found["output"], found["table_output"], found["plan_output"])
    assert told == ((None, None, None) if dry else ("new.bin", "table.csv", "plan.sh"))
    assert (tmp_path / "plan.sh").exists() is not dry


def test_a_flagged_partition_in_plain_text_is_told(tmp_path: Path) -> None:
    path, flagged = tmp_path / "flash.bin", tmp_path / "flagged.bin"
    path.write_bytes(with_rows(MINE))
    plain = run("migrate", path, "-o", tmp_path / "new.bin")
    assert "--encrypt" not in plain.out
    assert migrate(path, flagged, "--encrypted").code == 0
    for options in ([], ["--dry-run"], ["--partition-only"]):
        out = tmp_path / f"out{len(options)}{'-'.join(options)}.bin"
        told = run("migrate", flagged, "-o", out, *options)
        assert told.code == 0
        assert "write-flash --encrypt" in told.out


@pytest.mark.parametrize("end", [0xC00, 0x1000])
def test_a_plan_needs_the_whole_sector_of_the_table(end: int, tmp_path: Path) -> None:
    path, plan = tmp_path / "flash.bin", tmp_path / "plan.sh"
    image = placed(b"\xff" * 0xD000, (0xC000, table([("pre_prov", 0x3F, 6, 0x4000, 0x2000)])))
    image = placed(image, (0x4000, TLV))
    path.write_bytes(image[: 0xC000 + end])
    accept = ("--accept", "label-contradiction")
    made = migrate(path, tmp_path / "new.bin", "--plan-out", str(plan), *accept)
    assert made.code == (0 if end == 0x1000 else 2), made.err
    assert plan.exists() is (end == 0x1000)


def test_the_table_as_csv(tmp_path: Path) -> None:
    path, out, listed = (tmp_path / name for name in ("flash.bin", "new.bin", "table.CSV"))
    path.write_bytes(module("nvs_ec", 0xC000, 0xD000)[0])
    assert migrate(path, out, "--table-out", str(listed)).code == 0
    assert listed.read_text().splitlines()[2] == "esp_secure_cert, 0x3f, 0x06, 0xd000, 0x6000,"


def test_a_plan_of_the_partition_alone_needs_the_new_table(tmp_path: Path) -> None:
    path, out, plan = (tmp_path / name for name in ("flash.bin", "new.bin", "plan.sh"))
    path.write_bytes(module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    refused = migrate(path, out, "--partition-only", "--plan-out", str(plan))
    assert refused.code == 2
    assert "--table-out" in refused.err
    assert_no_output(out)
    assert_no_output(plan)
    path.write_bytes(module("cust_flash_rsa", 0xC000, 0xD000)[0])
    assert migrate(path, out, "--partition-only", "--plan-out", str(plan)).code == 0


@pytest.mark.parametrize(
    "options", [["--plan-out"], ["--table-out"], ["--table-out", "--plan-out"]]
)
def test_what_is_beside_needs_a_table(options: list[str], tmp_path: Path) -> None:
    given = [part for name in options for part in (name, str(tmp_path / name[2:]))]
    refused = migrate(Path(fixture("nvs_ec")), tmp_path / "x", *given)
    assert refused.code == 2
    assert_no_output(tmp_path / "x")
    error = refused.err.strip()
    assert "a whole flash image" in error
    assert {name for name in ("--plan-out", "--table-out") if name in error} == set(options)


def test_an_unsound_table_is_not_written_beside(tmp_path: Path) -> None:
    path, out = tmp_path / "flash.bin", tmp_path / "new.bin"
    path.write_bytes(TABLES["table-overlap"])
    beside = ("--partition-only", "--plan-out", str(tmp_path / "plan.sh"))
    refused = migrate(path, out, *beside)
    assert refused.code == 2
    assert "no sound partition table" in refused.err
    assert "--table-out" not in refused.err
    assert_no_output(out)


def test_a_dry_run_refuses_what_would_be_refused(tmp_path: Path) -> None:
    path, beside = tmp_path / "flash.bin", tmp_path / "beside"
    plan, listed = ("--plan-out", str(beside)), ("--table-out", f"{beside}.csv")
    path.write_bytes(module("cust_flash_legacy_ec", 0xC000, 0xD000)[0])
    row = ("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)
    (tmp_path / "odd.bin").write_bytes(with_rows(row, ("a,b", 1, 2, 0x10000, 0x3000)))
    cases = (
        (path, "--partition-only", *plan),
        (Path(fixture("nvs_ec")), *plan),
        (tmp_path / "odd.bin", *listed),
    )
    before = set(tmp_path.iterdir())
    for image, *options in cases:
        for output in ([], ["-o", str(tmp_path / "new.bin")]):
            dry = run("migrate", "--dry-run", image, *options, *output)
            assert (dry.code, dry.out) == (2, ""), options
            assert "-out: " in dry.err
    assert run("migrate", "--dry-run", path, *plan, *listed).code == 0
    assert set(tmp_path.iterdir()) == before
