"""Dumps under flash encryption: told without the key, read with it, written encrypted again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.runner import (
    BIN,
    Result,
    assert_no_output,
    environment,
    fixture,
    material,
    run,
)
from tests.cli.test_flash_images import placed
from tests.flash_cipher import ESP32, SCHEMES, XTS_128, FlaggedRows, Scheme, flagged_table
from tests.support import ERASED_PAGE

LEGACY = Path(fixture("cust_flash_legacy_ec")).read_bytes().ljust(0x6000, b"\xff")
TLV = Path(fixture("tlv_ec")).read_bytes().ljust(0x2000, b"\xff")
AT = ("--at", "2026-06-01")
UNFIT = "key, address or scheme does not fit"
SIZE = 0x40000

each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


class Flash(NamedTuple):
    """A flash image, encrypted where `data` is and plain where `plain` is."""

    data: bytes
    plain: bytes
    at: int
    start: int
    size: int


def flash(
    scheme: Scheme,
    held: bytes = LEGACY,
    *,
    at: int = 0xC000,
    label: str = "pre_prov",
    flags: int = 1,
    table_in: bool = True,
    partition_in: bool = True,
) -> Flash:
    """A module's flash: noise for a bootloader and an app, the table, the partition behind it."""
    start = at + 0x4000
    rows: FlaggedRows = [
        ("nvs", 1, 2, 0x1A000, 0x3000, 0),
        (label, 0x3F, 6, start, len(held), flags),
        ("factory", 0, 0, 0x30000, 0x10000, 0),
    ]
    noise = random.Random(scheme.key).randbytes(SIZE)
    around = placed(noise, (0x1A000, b"\xff" * 0x3000), (at, ERASED_PAGE))
    table = flagged_table(rows)
    plain = placed(around, (at, table), (start, held))
    data = placed(plain, (at, scheme.encrypt(table, at))) if table_in else plain
    if partition_in:
        data = placed(data, (start, scheme.encrypt(held, start)))
    return Flash(data, plain, at, start, len(held))


def stored(folder: Path, data: bytes, name: str = "image.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def check_unopened(result: Result, code: str = "encrypted_or_random") -> None:
    """`detect --json` with keys that do not fit."""
    assert (result.code, result.err) == (3, "")
    found = result.object
    assert (found["layout"], found["reason_code"]) == (None, code)
    assert UNFIT in found["reason"]


# --- Without a key -----------------------------------------------------------------------------


@each_scheme
@pytest.mark.parametrize("at", [0x8000, 0xC000], ids=hex)
def test_without_the_key_it_is_told(scheme: Scheme, at: int, tmp_path: Path) -> None:
    code = "esp32_encrypted" if scheme is ESP32 else "encrypted_or_random"
    made = flash(scheme, at=at)
    bare = made.data[made.start : made.start + made.size]
    found = run("detect", "--json", stored(tmp_path, made.data), stored(tmp_path, bare, "bare.bin"))
    assert found.code == 3
    whole, alone = found.objects
    assert whole["reason_code"] in {code, "encrypted_or_random"}
    assert alone["reason_code"] == code
    assert "--flash-encryption-key" in whole["reason"]
    assert "--flash-encryption-key" in alone["reason"]


def test_a_plain_table_and_an_encrypted_partition(tmp_path: Path) -> None:
    path = stored(tmp_path, flash(XTS_128, table_in=False).data)
    found = run("detect", "--json", path).object
    assert found["reason_code"] == "encrypted_or_random"
    assert "flagged as encrypted" in found["reason"]
    with_key = run("detect", "--json", *XTS_128.options(tmp_path), path).object
    assert with_key["layout"] == "cust_flash_legacy"
    assert any("the partition at 0x10000 decrypted" in reason for reason in with_key["evidence"])


def test_ciphertext_that_begins_like_an_app(tmp_path: Path) -> None:
    noise = random.Random(9).randbytes(0x2000)
    for head, code in ((b"\xe9\x06\x02\x20", "app_image"), (b"\xe9\x06\x92\x20", None)):
        found = run("detect", "--json", stored(tmp_path, head + noise[4:])).object
        assert found["reason_code"] == (code or "encrypted_or_random")


# --- With the key ------------------------------------------------------------------------------


@each_scheme
@pytest.mark.parametrize("at", [0x8000, 0xC000], ids=hex)
def test_every_verb_reads_a_whole_image(scheme: Scheme, at: int, tmp_path: Path) -> None:
    made = flash(scheme, at=at)
    path, plain = stored(tmp_path, made.data), stored(tmp_path, made.plain, "plain.bin")
    options = scheme.options(tmp_path)
    for verb in (("inspect",), ("verify", *AT)):
        result = run(*verb, "--json", *options, path, plain)
        assert (result.code, result.err) == (0, "")
        found, wanted = result.objects
        for name in ("layout", "label", "container", "partition", "items", "findings"):
            assert found.get(name) == wanted.get(name), name
        assert "decrypted" in found["evidence"][-1]
        assert "not applied" in wanted["evidence"][-1]
    listed, wanted = run("partitions", "--json", *options, path, plain).objects
    assert listed["rows"] == wanted["rows"]
    assert (listed["table_offset"], listed["table_encrypted"]) == (at, True)
    assert wanted["table_encrypted"] is False


@each_scheme
@pytest.mark.parametrize("held", [LEGACY, TLV], ids=["legacy", "tlv"])
def test_a_bare_partition_at_its_address(scheme: Scheme, held: bytes, tmp_path: Path) -> None:
    path = stored(tmp_path, scheme.encrypt(held, 0xD000))
    options = scheme.options(tmp_path)
    address = ("--flash-address", "0xd000")
    found = run("inspect", "--json", *options, *address, path).object
    wanted = run("inspect", "--json", stored(tmp_path, held, "plain.bin")).object
    assert found["items"] == wanted["items"]
    assert found["partition"] == wanted["partition"]
    assert "0xd000 decrypted" in found["evidence"][-1]
    missing = run("detect", *options, path)
    assert (missing.code, missing.out) == (2, "")
    assert "--flash-address" in missing.err
    code = "esp32_encrypted" if scheme is ESP32 else "encrypted_or_random"
    check_unopened(run("detect", "--json", *options, "--flash-address", "0xe000", path), code)
    wrong = scheme.options(tmp_path, wrong=True)
    check_unopened(run("detect", "--json", *wrong, *address, path), code)


@each_scheme
def test_a_key_that_does_not_fit(scheme: Scheme, tmp_path: Path) -> None:
    path = stored(tmp_path, flash(scheme, at=0x8000).data)
    wrong = scheme.options(tmp_path, wrong=True)
    found = run("detect", "--json", *wrong, path)
    check_unopened(found, found.object["reason_code"])
    assert found.object["reason_code"] in {"encrypted_or_random", "esp32_encrypted"}
    for verb in (("inspect",), ("partitions",), ("verify",), ("migrate", "-o", tmp_path / "new")):
        result = run(*verb, *wrong, path)
        assert (result.code, result.out) == (3, "")
        assert UNFIT in result.err
        assert result.err.count("\n") == 1
    assert_no_output(tmp_path / "new")


def test_another_scheme_with_the_same_key(tmp_path: Path) -> None:
    path = stored(tmp_path, flash(XTS_128, at=0x8000).data)
    key = XTS_128.options(tmp_path)[1]
    options = ("--flash-encryption-key", key, "--flash-encryption", "esp32")
    check_unopened(run("detect", "--json", *options, path))


def test_a_table_where_it_is_said_to_lie(tmp_path: Path) -> None:
    made = flash(XTS_128, at=0x14000)
    path, options = stored(tmp_path, made.data), XTS_128.options(tmp_path)
    at = ("--partition-table-offset", "0x14000")
    assert run("detect", "--json", *options, *at, path).object["layout"] == "cust_flash_legacy"
    elsewhere = run("detect", *options, "--partition-table-offset", "0x8000", path)
    assert elsewhere.code == 3
    assert UNFIT in elsewhere.err


def test_plain_images_are_read_as_they_are(tmp_path: Path) -> None:
    """Without esptool, too: nothing is to be decrypted."""
    options = XTS_128.options(tmp_path)
    bare = run("detect", *options, "--flash-address", "0xd000", fixture("tlv_ec"))
    assert bare.code == 0
    assert "flash encryption key not applied: the image is plain" in bare.out
    whole = stored(tmp_path, flash(XTS_128, at=0x8000).plain)
    for verb in (("detect",), ("inspect",), ("verify", *AT), ("migrate", "--dry-run")):
        result = run(*verb, *options, whole)
        assert result.code == 0, result.err
        assert "not applied" in result.out


def test_a_partition_in_erased_flash(tmp_path: Path) -> None:
    """The tool encrypts what it writes; what lies behind is erased, not ciphertext."""
    used = TLV.rstrip(b"\xff")
    used = used.ljust(-(-len(used) // 32) * 32, b"\xff")
    data = XTS_128.encrypt(used, 0xD000).ljust(0x2000, b"\xff")
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    path, out = stored(tmp_path, data), tmp_path / "new.bin"
    assert run("verify", "--json", *options, *AT, path).object["verdict"] == "ok"
    result = run("migrate", "--json", *options, path, "-o", out)
    assert result.code == 0, result.err
    assert out.read_bytes() == TLV


def test_an_unflagged_row_with_ciphertext(tmp_path: Path) -> None:
    path, out = stored(tmp_path, flash(XTS_128, flags=0).data), tmp_path / "new.bin"
    options = XTS_128.options(tmp_path)
    found = run("detect", "--json", *options, path).object
    assert found["layout"] == "cust_flash_legacy"
    assert "its row is not flagged" in found["evidence"][-1]
    refused = run("migrate", *options, "--encrypt-output", path, "-o", out)
    assert refused.code == 2
    assert "--no-encrypted" in refused.err
    assert_no_output(out)


def test_erased_and_empty_images_stay_so(tmp_path: Path) -> None:
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    for data, code in ((b"", "empty"), (b"\xff" * 0x2000, "erased"), (b"\x11\xba", "truncated")):
        found = run("detect", "--json", *options, stored(tmp_path, data))
        assert (found.code, found.object["reason_code"]) == (3, code)


def test_a_table_full_of_partitions_that_may_be_encrypted(tmp_path: Path) -> None:
    rows: FlaggedRows = [(f"cert{n}", 0x3F, 6, 0x10000 + n * 0x1000, 0x1000, 1) for n in range(40)]
    noise = random.Random(3).randbytes(SIZE)
    path = stored(tmp_path, placed(noise, (0x8000, flagged_table(rows))))
    options = XTS_128.options(tmp_path)
    result = run("detect", *options, path)
    assert result.code == 3
    assert "--label" in result.err
    named = run("detect", "--json", *options, "--label", "cert7", path)
    check_unopened(named)


# --- Wrong usage -------------------------------------------------------------------------------

KEY = ("--flash-encryption-key", "KEY")
CONTRADICTIONS = {
    "key without scheme": KEY,
    "scheme without key": ("--flash-encryption", "xts"),
    "address without key": ("--flash-address", "0xd000"),
    "crypt conf without key": ("--flash-crypt-conf", "0xf"),
    "crypt conf of xts": (*KEY, "--flash-encryption", "xts", "--flash-crypt-conf", "0xf"),
    "no such scheme": (*KEY, "--flash-encryption", "aes"),
    "no such key": ("--flash-encryption-key", "none", "--flash-encryption", "xts"),
    "key on standard input": ("--flash-encryption-key", "-", "--flash-encryption", "xts"),
    "key of another length": ("--flash-encryption-key", "LONG", "--flash-encryption", "xts"),
    "unaligned address": (*KEY, "--flash-encryption", "xts", "--flash-address", "0xd001"),
    "both kinds of NVS keys": ("--nvs-keys", "KEY", "--nvs-hmac-key", "KEY"),
    "no such NVS keys": ("--nvs-keys", "none"),
    "NVS keys that are none": ("--nvs-keys", "LONG"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradicting_options(case: str, tmp_path: Path) -> None:
    files = {"KEY": XTS_128.key, "LONG": random.Random(5).randbytes(100)}
    for name, data in files.items():
        stored(tmp_path, data, name)
    result = run("detect", *CONTRADICTIONS[case], fixture("tlv_ec"), cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert not any(data.hex() in result.err for data in files.values())


@pytest.mark.parametrize("table_in", [False, True], ids=["plain table", "encrypted table"])
def test_an_address_is_of_no_concern_in_a_whole_image(table_in: bool, tmp_path: Path) -> None:
    path = stored(tmp_path, flash(XTS_128, table_in=table_in).data)
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    found = run("detect", "--json", *options, path)
    assert (found.code, found.object["layout"]) == (0, "cust_flash_legacy")


def without_esptool(*arguments: str | Path) -> Result:
    """The command where espsecure is not installed."""
    code = (
        "import sys\nsys.modules['espsecure'] = None\nfrom espcert.cli import run\n"
        "sys.argv[0] = 'espcert'\nrun()\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_without_esptool_one_line_says_what_to_install(tmp_path: Path) -> None:
    path = stored(tmp_path, flash(XTS_128).data)
    result = without_esptool("detect", *XTS_128.options(tmp_path), path)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "pip install 'espcert[esptool]'" in result.err
    plain = without_esptool("detect", *XTS_128.options(tmp_path), fixture("tlv_ec"))
    assert plain.code == 0


# --- Migration ---------------------------------------------------------------------------------


def migrate(path: Path, out: Path, *options: str) -> Result:
    return run("migrate", "--json", path, "-o", out, *options)


@each_scheme
@pytest.mark.parametrize("at", [0x8000, 0xC000], ids=hex)
def test_a_whole_image_is_encrypted_again(scheme: Scheme, at: int, tmp_path: Path) -> None:
    """As the plain image is migrated, then encrypted by other code; nothing else changes."""
    made = flash(scheme, at=at)
    path, out = stored(tmp_path, made.data), tmp_path / "new.bin"
    plain_out, table_out = tmp_path / "plain-new.bin", tmp_path / "table.bin"
    result = migrate(
        path, out, *scheme.options(tmp_path), "--encrypt-output", "--table-out", str(table_out)
    )
    assert result.code == 0, result.err
    assert migrate(stored(tmp_path, made.plain, "plain.bin"), plain_out).code == 0
    new = plain_out.read_bytes()
    table, held = new[at : at + 0xC00], new[made.start : made.start + made.size]
    sealed = scheme.encrypt(table, at)
    expected = placed(made.data, (at, sealed), (made.start, scheme.encrypt(held, made.start)))
    assert out.read_bytes() == expected
    assert table_out.read_bytes() == sealed
    assert result.object["output_encrypted"] is True
    assert result.object["flash_command"] == f"esptool --chip auto write-flash 0x0 {out}"


def test_what_was_encrypted_again_is_current(tmp_path: Path) -> None:
    options = XTS_128.options(tmp_path)
    path, out, again = stored(tmp_path, flash(XTS_128).data), tmp_path / "new", tmp_path / "again"
    assert migrate(path, out, *options, "--encrypt-output").code == 0
    result = migrate(out, again, *options, "--encrypt-output")
    assert (result.code, result.object["changes"]) == (0, [])
    assert again.read_bytes() == out.read_bytes()


def test_an_encrypted_image_asks_how_to_write_it(tmp_path: Path) -> None:
    made, out = flash(XTS_128), tmp_path / "new.bin"
    path, options = stored(tmp_path, made.data), XTS_128.options(tmp_path)
    refused = migrate(path, out, *options)
    assert refused.code == 2
    assert "--encrypt-output" in refused.err
    assert "--partition-only" in refused.err
    assert_no_output(out)
    alone = migrate(path, out, *options, "--partition-only")
    assert alone.code == 0
    assert alone.object["output_encrypted"] is False
    assert any("plain text" in change for change in alone.object["changes"])
    assert "write-flash --encrypt 0x10000" in alone.object["flash_command"]
    assert run("detect", "--json", out).object["layout"] == "tlv"
    plan = ("--plan-out", str(tmp_path / "plan.sh"))
    refused = migrate(path, tmp_path / "no.bin", *options, "--partition-only", *plan)
    assert refused.code == 2
    assert_no_output(tmp_path / "no.bin")


def test_the_partition_alone_encrypted(tmp_path: Path) -> None:
    path, options = stored(tmp_path, flash(XTS_128).data), XTS_128.options(tmp_path)
    plain, sealed = tmp_path / "plain.bin", tmp_path / "sealed.bin"
    assert migrate(path, plain, *options, "--partition-only").code == 0
    result = migrate(path, sealed, *options, "--partition-only", "--encrypt-output")
    assert result.code == 0
    assert XTS_128.decrypt(sealed.read_bytes(), 0x10000) == plain.read_bytes()
    assert "--encrypt " not in result.object["flash_command"]


@each_scheme
def test_a_bare_partition_is_encrypted_again(scheme: Scheme, tmp_path: Path) -> None:
    path = stored(tmp_path, scheme.encrypt(LEGACY, 0xD000))
    options = (*scheme.options(tmp_path), "--flash-address", "0xd000", "--label", "pre_prov")
    plain, sealed = tmp_path / "plain.bin", tmp_path / "sealed.bin"
    in_plain = migrate(path, plain, *options)
    assert in_plain.object["output_encrypted"] is False
    assert any("plain text" in change for change in in_plain.object["changes"])
    command = f"esptool --chip auto write-flash --encrypt 0xd000 {plain}"
    assert in_plain.object["flash_command"] == command
    again = migrate(path, sealed, *options, "--encrypt-output").object
    assert again["output_encrypted"] is True
    assert again["flash_command"] == f"esptool --chip auto write-flash 0xd000 {sealed}"
    line = "esp_secure_cert, 0x3f, 0x06, 0xd000, 0x6000, encrypted"
    for found in (in_plain.object, again):
        assert found["partition_table"] == {"before": None, "after": line}
    assert sealed.read_bytes() == scheme.encrypt(plain.read_bytes(), 0xD000)


def test_a_plain_partition_is_encrypted_where_it_is_asked_for(tmp_path: Path) -> None:
    out, options = tmp_path / "new.bin", XTS_128.options(tmp_path)
    bare = Path(fixture("tlv_ec"))
    nowhere = migrate(bare, out, *options, "--encrypt-output")
    assert nowhere.code == 2
    assert "--flash-address" in nowhere.err
    keyless = migrate(bare, out, "--encrypt-output")
    assert keyless.code == 2
    assert "--flash-encryption-key" in keyless.err
    whole = stored(tmp_path, flash(XTS_128).plain)
    assert migrate(whole, out, *options, "--encrypt-output").code == 2
    assert_no_output(out)
    result = migrate(bare, out, *options, "--encrypt-output", "--flash-address", "0xd000")
    assert result.code == 0
    assert any("plain text → flash encryption" in line for line in result.object["changes"])
    assert result.object["partition_table"]["after"].endswith("0xd000, 0x2000, encrypted")
    in_plain = ("--force", *options, "--flash-address", "0xd000")
    row = migrate(bare, tmp_path / "plain.bin", *in_plain).object["partition_table"]["after"]
    assert row.endswith("0xd000, 0x2000,")
    assert XTS_128.decrypt(out.read_bytes(), 0xD000) == bare.read_bytes().ljust(0x2000, b"\xff")


def test_a_plain_partition_of_an_encrypted_flash_is_written_as_its_row_says(tmp_path: Path) -> None:
    """The table is encrypted, so the device reads what is flagged through flash encryption."""
    path, options = stored(tmp_path, flash(XTS_128, partition_in=False).data), ("--partition-only",)
    result = migrate(path, tmp_path / "new.bin", *XTS_128.options(tmp_path), *options)
    assert result.code == 0, result.err
    assert "write-flash --encrypt 0x10000" in result.object["flash_command"]


FLAGS = {
    "set": (0, "--encrypted", False, True),
    "cleared": (1, "--no-encrypted", True, False),
    "set where it is encrypted": (0, "--encrypted", True, True),
    "cleared where it is encrypted": (0, "--no-encrypted", True, False),
    "flagged, and plain": (1, None, False, True),
    "unflagged and plain": (0, None, False, False),
}


@pytest.mark.parametrize("case", FLAGS)
def test_what_is_written_is_what_the_row_says(case: str, tmp_path: Path) -> None:
    """Firmware decrypts a partition exactly where its row is flagged."""
    flags, option, before, after = FLAGS[case]
    made, out = flash(XTS_128, flags=flags, partition_in=before), tmp_path / "new.bin"
    options = [*XTS_128.options(tmp_path), "--encrypt-output", *([option] if option else [])]
    result = migrate(stored(tmp_path, made.data), out, *options)
    assert result.code == 0, result.err
    new = out.read_bytes()
    table = XTS_128.decrypt(new[made.at : made.at + 0xC00], made.at)
    assert bool(table[32 + 28] & 1) is after
    held = new[made.start : made.start + made.size]
    held = XTS_128.decrypt(held, made.start) if after else held
    assert held.startswith(b"\x11\xba\x5e\xba")
    assert result.object["output_encrypted"] is after
    told = any("flash encryption" in change for change in result.object["changes"])
    assert told is (before != after)


def test_it_is_said_what_is_encrypted(tmp_path: Path) -> None:
    options = (*XTS_128.options(tmp_path), "--encrypt-output", "--dry-run")
    for flags, words in ((1, "the partition at 0x10000 and"), (0, "not the partition, as its")):
        made = flash(XTS_128, flags=flags, partition_in=bool(flags))
        shown = run("migrate", stored(tmp_path, made.data), *options)
        assert shown.code == 0, shown.err
        assert words in shown.out


def test_the_plan_of_an_encrypted_image(tmp_path: Path) -> None:
    path, plan = stored(tmp_path, flash(XTS_128).data), tmp_path / "plan.sh"
    options = (*XTS_128.options(tmp_path), "--encrypt-output", "--plan-out", str(plan))
    table = tmp_path / "table.csv"
    assert migrate(path, tmp_path / "new.bin", *options, "--table-out", str(table)).code == 0
    assert "write-flash --encrypt" not in plan.read_text()
    assert "esp_secure_cert, 0x3f, 0x06, 0x10000, 0x6000, encrypted" in table.read_text()


# --- Conversion --------------------------------------------------------------------------------


def test_what_is_converted_is_encrypted_where_it_is_asked_for(tmp_path: Path) -> None:
    options = XTS_128.options(tmp_path)
    path, plain, sealed = stored(tmp_path, flash(XTS_128).data), tmp_path / "p", tmp_path / "s"
    to = ("--to", "cust_flash", *options)
    told = run("convert", path, *to, "-o", plain)
    assert told.code == 0, told.err
    assert "flash encryption → none" in told.out
    encrypted = run("convert", path, *to, "-o", sealed, "--encrypt-output")
    assert encrypted.code == 0, encrypted.err
    assert "encrypted for 0x10000" in encrypted.out
    assert XTS_128.decrypt(sealed.read_bytes(), 0x10000) == plain.read_bytes()
    for wrong in (("--to", "csv", *options), ("--to", "cust_flash")):
        refused = run("convert", path, *wrong, "-o", tmp_path / "no", "--encrypt-output")
        assert refused.code in (2, 3)
        assert_no_output(tmp_path / "no")


def test_a_key_is_never_the_output(tmp_path: Path) -> None:
    options = XTS_128.options(tmp_path)
    key = Path(options[1])
    for verb in (("migrate",), ("convert", "--to", "nvs")):
        result = run(*verb, *options, fixture("tlv_ec"), "-o", key, "--force")
        assert result.code == 2
        assert key.read_bytes() == XTS_128.key


def test_files_that_are_no_dump_need_no_key(tmp_path: Path) -> None:
    csv, out = tmp_path / "certs.csv", tmp_path / "new.bin"
    assert run("convert", fixture("tlv_ec"), "--to", "csv", "-o", csv).code == 0
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    assert "not applied" in run("detect", *options, csv).out
    assert run("migrate", csv, *options, "-o", out, "--encrypt-output").code == 0
    assert XTS_128.decrypt(out.read_bytes(), 0xD000).startswith(b"\x11\xba\x5e\xba")


# --- Interruptions -----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_espsecure_runs(number: int, code: int, tmp_path: Path) -> None:
    private = tmp_path / "tmp"
    private.mkdir()
    path = stored(tmp_path, random.Random(6).randbytes(0x10000) * 0xC0)
    options = (*ESP32.options(tmp_path), "--flash-address", "0x10000")
    command = [str(BIN), "detect", *options, str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"TMPDIR": str(private)}),
    ) as process:
        deadline = time.monotonic() + 30
        while not list(private.glob("*/in")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        assert list(private.iterdir()), "espsecure was over before it could be interrupted"
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, b"")
    assert b"Traceback" not in err
    assert list(private.iterdir()) == []


# --- Signed ------------------------------------------------------------------------------------


def test_an_encrypted_image_is_signed_in_place(tmp_path: Path) -> None:
    made = flash(XTS_128, TLV, label="esp_secure_cert")
    path, out = stored(tmp_path, made.data), tmp_path / "signed.bin"
    key = ("--key", material("sign_p256.key"))
    options = XTS_128.options(tmp_path)
    unclear = run("sign", *options, *key, path, "-o", out)
    assert (unclear.code, unclear.out) == (2, "")
    assert "--encrypt-output" in unclear.err
    assert_no_output(out)
    done = run("sign", *options, *key, "--encrypt-output", path, "-o", out)
    assert (done.code, done.err) == (0, "")
    signed = out.read_bytes()
    before, after = made.data[: made.start], made.data[made.start + made.size :]
    assert signed[: made.start] == before
    assert signed[made.start + made.size :] == after
    plain = XTS_128.decrypt(signed[made.start : made.start + made.size], made.start)
    assert plain.startswith(TLV[: TLV.index(b"\xff" * 64) - 48])
    proven = run("verify", "--json", *AT, *options, "--signing-key", key[1], out)
    codes = [finding["code"] for finding in proven.object["findings"]]
    assert "signature-valid" in codes


def test_a_bare_encrypted_partition_is_signed(tmp_path: Path) -> None:
    path = stored(tmp_path, XTS_128.encrypt(TLV, 0xD000))
    out = tmp_path / "signed.bin"
    options = (*XTS_128.options(tmp_path), "--flash-address", "0xd000")
    key = ("--key", material("sign_p256.key"))
    assert run("sign", *options, *key, "--encrypt-output", path, "-o", out).code == 0
    assert run("detect", "--json", out).code == 3
    assert run("detect", "--json", *options, out).object["revision"] == "2.9.2+"
    plain = tmp_path / "plain.bin"
    assert run("sign", *options, *key, path, "-o", plain).code == 0
    assert run("detect", plain).code == 0
