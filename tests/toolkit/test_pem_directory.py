"""PEM directories: written and read back exactly, and hostile ones refused in one line."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.files_as_images import DER, KEY, PEM, data_for, key_of, partitions, write
from tests.support import FIXTURES, fixture_truth

import espcert
from espcert import confined, pem_directory
from espcert.confined import Folder
from espcert.errors import EspcertError, UnreadableError, UsageError
from espcert.opening import open_image
from espcert_formats import tlv
from espcert_formats.items import Contents, Item

posix = pytest.mark.skipif(os.name != "posix", reason="pipes with a name and devices are POSIX'")


def item(kind: str, data: bytes, index: int = 0, flags: int | None = 0) -> Item:
    return tlv.loose_item(kind, index, data, flags)


def read(folder: Path) -> Contents:
    return pem_directory.read(Folder(folder))


def refused(folder: Path) -> str:
    with pytest.raises(UnreadableError) as caught:
        read(folder)
    assert "\n" not in caught.value.message
    return caught.value.message


def read_back(files: dict[str, bytes]) -> Contents:
    with tempfile.TemporaryDirectory() as scratch:
        return read(write(files, Path(scratch)))


# --- There and back ----------------------------------------------------------------------------

_KINDS = ["device_cert", "ca_cert", "private_key", "ds_iv", "ds_ciphertext", "ds_context"]
_KINDS += ["security_config", "tee_key", "integrity", "signature_block", "user_data_5", "matter_2"]
_KINDS += ["unknown_50", "unknown_255", "ecdsa_salt"]
ANY_ITEM = st.sampled_from(_KINDS).flatmap(
    lambda kind: st.builds(
        tlv.loose_item,
        st.just(kind),
        st.integers(0, 255),
        data_for(kind),
        st.one_of(st.none(), st.integers(0, 255)),
        st.one_of(st.none(), st.integers(0, 0xFFFFFFFF)) if kind == "ds_ciphertext" else st.none(),
    )
)


@given(st.one_of(partitions(), st.lists(ANY_ITEM, max_size=6)))
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read_back(items: list[Item]) -> None:
    """In its order, twice the same type and subtype included."""
    found = read_back(pem_directory.payloads(items)).items
    assert [key_of(one) for one in found] == [key_of(one) for one in items]


@pytest.mark.parametrize("name", [row["file"] for row in fixture_truth()])
def test_every_fixture_comes_back(name: str) -> None:
    source = espcert.detect(espcert.open_image(FIXTURES / name)).require()
    found = read_back(pem_directory.payloads(source.items, source.layout))
    assert [key_of(one) for one in found.items] == [key_of(one) for one in source.items]
    damaged = [one.kind for one in source.items if one.intact is False]
    assert [one.kind for one in found.items if one.intact is False] == damaged
    assert {one.intact for one in found.items} <= {None, False}
    codes = {one.code for one in source.anomalies} & {"item-crc", "duplicate-entry"}
    if all(one.intact is not False for one in source.items):
        codes -= {"item-crc"}
    assert {one.code for one in found.anomalies} == codes


def test_names_of_files() -> None:
    items = [
        item("ca_cert", PEM + b"\0"),
        item("ca_cert", DER, 1),
        item("ca_cert", DER, 1),
        item("device_cert", PEM),
        item("private_key", KEY + b"\0"),
        item("private_key", b"", 2, 0x40),
        item("user_data_1", b"x", 7),
        item("unknown_77", b"y"),
    ]
    assert list(pem_directory.payloads(items)) == [
        *("ca_cert.pem", "ca_cert_1.der", "ca_cert_1.2.der", "device_cert.pem", "private_key.pem"),
        *("private_key_2.bin", "user_data_1_7.bin", "unknown_77_0.bin", "items.json"),
    ]


def test_pem_goes_without_its_nul() -> None:
    files = pem_directory.payloads([item("ca_cert", PEM + b"\0"), item("device_cert", PEM)])
    assert files["ca_cert.pem"] == files["device_cert.pem"] == PEM
    listed = json.loads(files["items.json"])["items"]
    assert [one["nul"] for one in listed] == [True, False]


# --- Without an index --------------------------------------------------------------------------


def test_exactly_the_names_are_taken(tmp_path: Path) -> None:
    ds = {"ds_iv_0.bin": bytes(16), "ds_ciphertext_0.bin": b"c" * 1200}
    ds["ds_context_0.bin"] = bytes(4) + bytes((1, 0, 0, 8))
    files = {
        "device_cert.pem": PEM,
        "ca_cert.pem": PEM + b"\0",
        "ca_cert_1.der": DER,
        "private_key.pem": KEY,
        "user_data_1_0.bin": b"",
        "unknown_77_3.bin": b"z",
        **ds,
    }
    found = read(write(files, tmp_path))
    assert [(one.kind, one.index, one.data) for one in found.items] == [
        *(("ca_cert", 0, PEM + b"\0"), ("ca_cert", 1, DER), ("device_cert", 0, PEM + b"\0")),
        ("private_key", 0, KEY + b"\0"),
        ("ds_ciphertext", 0, b"c" * 1200),
        *(("ds_iv", 0, bytes(16)), ("ds_context", 0, ds["ds_context_0.bin"])),
        *(("user_data_1", 0, b""), ("unknown_77", 3, b"z")),
    ]
    assert {one.flags for one in found.items} == {0}
    assert len(tlv.entries_for(found.items)) == 8


NOT_TAKEN = (
    *("cert.pem", "device_cert.crt", "device.pem", "Device_cert.pem", "ca_cert_0.pem", "key.pem"),
    *("ca_cert_256.pem", "ca_cert_01.pem", "device_cert.bin", "private_key.bin", "ds_data_0.bin"),
    *("user_data_1.bin", "user_data_6_0.bin", "unknown_1_0.bin", "unknown_256_0.bin"),
    *("user_data_1_0.pem", "ca_cert_1.2.der", "unknown_077_0.bin", "ca_cert.pem.bak"),
)


def test_roles_are_never_guessed(tmp_path: Path) -> None:
    write(dict.fromkeys(NOT_TAKEN, PEM), tmp_path)
    with pytest.raises(
        UsageError, match="is a directory, not a file; a PEM directory has"
    ) as caught:
        open_image(str(tmp_path))
    assert caught.value.exit_code == 2
    (tmp_path / "ca_cert_255.pem").write_bytes(PEM)
    image = open_image(str(tmp_path))
    assert image.contents is not None
    assert [(one.kind, one.index) for one in image.contents.items] == [("ca_cert", 255)]
    assert "not taken: Device_cert.pem" in image.contents.evidence[-1]
    assert image.contents.evidence[-1].endswith(f"and {len(NOT_TAKEN) - 8} more")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ca_cert.pem": PEM, "ca_cert.der": DER}, "ca_cert.der and ca_cert.pem: both are ca_cert"),
        ({"ca_cert.pem": DER}, "ca_cert.pem: does not hold PEM"),
        ({"ca_cert.der": PEM}, "ca_cert.der: does not hold DER"),
        ({"private_key.pem": b""}, "private_key.pem: does not hold PEM"),
    ],
)
def test_names_that_say_something_else(
    files: dict[str, bytes], expected: str, tmp_path: Path
) -> None:
    assert expected in refused(write(files, tmp_path))


# --- An index that lies ------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def change(**fields: Any) -> Change:
    return lambda record: record.update(fields)


def without(field: str) -> Change:
    def remove(record: dict[str, Any]) -> None:
        del record[field]

    return remove


LIES: dict[str, tuple[Change, str]] = {
    "parent": (change(file="../secret.pem"), '"file"'),
    "absolute": (change(file="/etc/hostname"), '"file"'),
    "folder": (change(file="in/ca_cert.pem"), '"file"'),
    "itself": (change(file="items.json"), '"file"'),
    "escapes": (change(file="\x1b[31mca_cert.pem"), '"file"'),
    "long": (change(file="a" * 5000 + ".pem"), '"file"'),
    "number": (change(file=1), '"file"'),
    "no file": (without("file"), '"file"'),
    "missing": (change(file="ca_cert_9.pem"), "ca_cert_9.pem: no such file"),
    "kind": (change(kind="certificate"), '"kind"'),
    "kind of a seal's name": (change(kind="ds_data"), '"kind"'),
    "named kind": (change(kind="unknown_1"), '"kind"'),
    "kind with a newline": (change(kind="unknown_77\n"), '"kind"'),
    "kind list": (change(kind=["ca_cert"]), '"kind"'),
    "index": (change(index=256), '"index"'),
    "index text": (change(index="0"), '"index"'),
    "index truth": (change(index=True), '"index"'),
    "index float": (change(index=0.0), '"index"'),
    "nul": (change(nul=1), '"nul"'),
    "no nul": (without("nul"), '"nul"'),
    "wrong nul": (change(nul=False), '"length"'),
    "flags": (change(flags=256), '"flags"'),
    "flags text": (change(flags="0x80"), '"flags"'),
    "rsa_length": (change(rsa_length=-1), '"rsa_length"'),
    "length": (change(length=7), 'not what "length" says'),
    "huge length": (change(length=10**15), 'not what "length" says'),
    "sha256": (change(sha256="00" * 32), 'not what "sha256" says'),
    "encoding": (change(encoding="der"), 'not what "encoding" says'),
}


@pytest.mark.parametrize("case", LIES)
def test_an_index_that_lies(case: str, tmp_path: Path) -> None:
    lie, expected = LIES[case]
    (tmp_path / "secret.pem").write_bytes(PEM)
    folder = write(pem_directory.payloads([item("ca_cert", PEM + b"\0")]), tmp_path / "pem")
    path = folder / "items.json"
    index = json.loads(path.read_text())
    lie(index["items"][0])
    path.write_text(json.dumps(index))
    message = refused(folder)
    assert message.startswith("items.json, item 0: ")
    assert expected in message
    assert message.isprintable()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut": b'{"items": [',
    "list": b"[]",
    "no items": b'{"layout": "tlv"}',
    "items text": b'{"items": "all"}',
    "record text": b'{"items": ["ca_cert.pem"]}',
    "not UTF-8": b'{"items": ["\xff"]}',
    "deep": b"[" * 500_000,
    "deep objects": b'{"a":' * 500_000,
    "digits": b'{"items": ' + b"9" * 1_000_000 + b"}",
    "five megabytes": b" " * 5_000_000,
    "infinite": b'{"items": Infinity}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_index_that_is_none(case: str, tmp_path: Path) -> None:
    write({"items.json": BROKEN[case], "ca_cert.pem": PEM}, tmp_path)
    started = time.monotonic()
    assert refused(tmp_path).startswith("items.json")
    assert time.monotonic() - started < 5


def test_a_file_twice(tmp_path: Path) -> None:
    folder = write(pem_directory.payloads([item("ca_cert", DER)]), tmp_path)
    index = json.loads((folder / "items.json").read_text())
    index["items"] *= 2
    (folder / "items.json").write_text(json.dumps(index))
    assert "item 1: names ca_cert.der, which an item before it has" in refused(folder)


def test_an_older_index_is_enough(tmp_path: Path) -> None:
    """One without what was added to it later."""
    folder = write(pem_directory.payloads([item("ca_cert", PEM + b"\0")]), tmp_path)
    index = json.loads((folder / "items.json").read_text())
    for field in ("sha256", "rsa_length", "encoding", "intact", "flags", "length"):
        del index["items"][0][field]
    (folder / "items.json").write_text(json.dumps(index))
    (found,) = read(folder).items
    assert (found.data, found.flags) == (PEM + b"\0", None)


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 300), st.text(max_size=8), st.floats()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["file", "kind", "index", "nul", "flags", "rsa_length", "length"]), _VALUES
    )
)
@settings(deadline=None)
def test_any_record_is_read_or_refused(fields: dict[str, Any]) -> None:
    files = pem_directory.payloads([item("ca_cert", PEM + b"\0")])
    index = json.loads(files["items.json"])
    index["items"][0] |= fields
    files["items.json"] = json.dumps(index).encode()
    try:
        read_back(files)
    except EspcertError as error:
        assert error.exit_code == 3


# --- A hostile directory -----------------------------------------------------------------------


def make_hostile(path: Path, case: str) -> None:
    """Make of a path something that is no file of the directory."""
    if case == "fifo":
        os.mkfifo(path)
    elif case == "directory":
        path.mkdir()
    elif case == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.symlink_to({"loop": path.name, "device": "/dev/zero", "out": "../secret.pem"}[case])


@posix
@pytest.mark.parametrize("case", ["fifo", "directory", "sparse", "loop", "device", "out"])
@pytest.mark.parametrize("name", ["ca_cert.pem", "items.json"])
def test_what_is_no_file_of_the_directory(name: str, case: str, tmp_path: Path) -> None:
    (tmp_path / "secret.pem").write_bytes(PEM)
    folder = tmp_path / "pem"
    folder.mkdir()
    make_hostile(folder / name, case)
    started = time.monotonic()
    assert name in refused(folder)
    assert time.monotonic() - started < 5


def test_too_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "MAX_NAMES", 3)
    write({f"user_data_1_{n}.bin": b"x" for n in range(4)}, tmp_path)
    assert "over 3 names" in refused(tmp_path)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read all")
def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(EspcertError) as caught:
            open_image(str(tmp_path))
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.exit_code == 4


# --- Damage is not forgotten -------------------------------------------------------------------


def test_a_damaged_item_stays_one() -> None:
    damaged = replace(item("ca_cert", DER), intact=False)
    found = read_back(pem_directory.payloads([damaged, item("device_cert", DER)]))
    assert [one.intact for one in found.items] == [False, None]
    (anomaly,) = found.anomalies
    assert (anomaly.code, anomaly.kind) == ("item-crc", "ca_cert")
