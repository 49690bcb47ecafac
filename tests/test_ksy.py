"""The Kaitai specs: what they promise, that they compile, and that damage does not stop them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from kaitaistruct import KaitaiStream, KaitaiStruct

from espcert_formats import _ksy
from espcert_formats._ksy.esp_nvs import EspNvs
from espcert_formats._ksy.esp_partition_table import EspPartitionTable
from espcert_formats._ksy.esp_secure_cert_cust_flash import EspSecureCertCustFlash
from espcert_formats._ksy.esp_secure_cert_signature import EspSecureCertSignature
from espcert_formats._ksy.esp_secure_cert_tlv import EspSecureCertTlv

ROOT = Path(__file__).resolve().parent.parent
KSY = ROOT / "ksy"
IMAGES = ROOT.parent / "shared" / "images"
COMPILED = Path(_ksy.__path__[0])
SPECS = sorted(path.stem for path in KSY.glob("*.ksy"))

Spec = dict[str, Any]
Parser = Callable[[KaitaiStream], Any]


def parse(parser: Parser, data: bytes) -> Any:
    return parser(KaitaiStream(BytesIO(data)))


def image(name: str) -> bytes:
    path = IMAGES / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path.read_bytes()


# --- The compiler ------------------------------------------------------------------------------


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def install_compiler(npm: str) -> None:
    """Installs aside and moves: parallel test processes must not see half of it."""
    with tempfile.TemporaryDirectory(dir=KSY, prefix="node_modules.") as place:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(KSY / name, place)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            unavailable(f"npm ci failed in ksy/: {done.stderr.strip()[-300:]}")
        with suppress(OSError):
            (Path(place) / "node_modules").rename(KSY / "node_modules")


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        unavailable("node is not installed")
    if not (KSY / "node_modules").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            unavailable("ksy/node_modules is missing, and there is no npm to install it")
        install_compiler(npm)
    return found


def compile_specs(node: str, *options: str, script: Path = KSY) -> subprocess.CompletedProcess[str]:
    command = [node, str(script / "compile.mjs"), *options]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def specs(node: str) -> dict[str, Spec]:
    done = compile_specs(node, "--json")
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Spec] = json.loads(done.stdout)
    return parsed


def test_the_package_holds_what_the_specs_compile_to(node: str, tmp_path: Path) -> None:
    done = compile_specs(node, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    fresh = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in COMPILED.glob("*.py")}
    assert fresh.keys() == kept.keys(), "run: node ksy/compile.mjs"
    assert [name for name in fresh if fresh[name] != kept[name]] == [], "run: node ksy/compile.mjs"
    assert not any(b"\r" in text for text in fresh.values())


def test_every_spec_compiles_to_every_language(node: str, tmp_path: Path) -> None:
    done = compile_specs(node, "--all-languages", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    languages = {path.name: path for path in tmp_path.iterdir()}
    assert languages.keys() >= {"cpp_stl", "go", "java", "javascript", "python", "rust"}
    for path in languages.values():
        stems = {file.stem.lower().replace("_", "") for file in path.rglob("*") if file.is_file()}
        assert stems >= {name.replace("_", "") for name in SPECS}, path.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--language", "java"], "--out is missing"),
        (["--all-languages"], "--out is missing"),
        (["--language", "java", "--all-languages", "--out", "x"], "exclude each other"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_wrong_options_are_explained(node: str, options: list[str], message: str) -> None:
    done = compile_specs(node, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Usage:" in done.stderr


def test_an_unknown_language_is_explained(node: str, tmp_path: Path) -> None:
    done = compile_specs(node, "--language", "cobol", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "cobol" in done.stderr


def test_a_missing_compiler_is_explained(node: str, tmp_path: Path) -> None:
    shutil.copy(KSY / "compile.mjs", tmp_path)
    done = compile_specs(node, script=tmp_path)
    assert done.returncode == 1
    assert "npm ci" in done.stderr


def test_the_compiler_is_pinned() -> None:
    package = json.loads((KSY / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((KSY / "package-lock.json").read_text(encoding="utf-8"))
    locked = lock["packages"]["node_modules/kaitai-struct-compiler"]["version"]
    assert package["devDependencies"]["kaitai-struct-compiler"] == locked == "0.11.0"
    assert not any("resolved" in entry for entry in lock["packages"].values())


# --- What a spec must say ----------------------------------------------------------------------

PINNED = re.compile(r"https://github\.com/espressif/[^/]+/blob/([0-9a-f]{40}|v\d+(\.\d+)+)/.+")
ORDER = ["meta", "doc", "doc-ref", "params", "seq", "instances", "types", "enums"]


def types_of(spec: Spec, name: str) -> Iterator[tuple[str, Spec]]:
    yield name, spec
    for inner, body in spec.get("types", {}).items():
        yield from types_of(body, f"{name}.{inner}")


def fields_of(spec: Spec, name: str) -> Iterator[tuple[str, Spec]]:
    """All fields of a spec by their full names: parameters, sequences and instances."""
    for path, body in types_of(spec, name):
        for field in body.get("params", []) + body.get("seq", []):
            yield f"{path}.{field['id']}", field
        for field, details in body.get("instances", {}).items():
            yield f"{path}.{field}", details


@pytest.mark.parametrize("name", SPECS)
def test_head(specs: dict[str, Spec], name: str) -> None:
    spec = specs[f"{name}.ksy"]
    meta = spec["meta"]
    assert meta["id"] == name
    assert meta["title"].startswith("Espressif ")
    assert (meta["license"], meta["ks-version"], meta["endian"]) == ("Apache-2.0", "0.11", "le")
    assert not {"imports", "ks-debug"} & meta.keys()
    assert list(spec) == [key for key in ORDER if key in spec]
    assert "To make a sample:" in spec["doc"]


@pytest.mark.parametrize("name", SPECS)
def test_sources_are_pinned(specs: dict[str, Spec], name: str) -> None:
    sources = specs[f"{name}.ksy"]["doc-ref"]
    assert sources
    assert [source for source in sources if not PINNED.fullmatch(source)] == []


@pytest.mark.parametrize("name", SPECS)
def test_everything_is_described(specs: dict[str, Spec], name: str) -> None:
    spec = specs[f"{name}.ksy"]
    members = [
        (f"{enum}.{member['id']}", member)
        for enum, values in spec.get("enums", {}).items()
        for member in values.values()
    ]
    described = [*types_of(spec, name), *fields_of(spec, name), *members]
    assert [path for path, body in described if not body.get("doc")] == []


@pytest.mark.parametrize("name", SPECS)
def test_fields_of_c_structs_have_their_c_names(specs: dict[str, Spec], name: str) -> None:
    def is_nameless(field: Spec, types: Spec) -> bool:
        made_up = field["id"].startswith("reserved") or field["id"] == "body"
        return made_up or field.get("type") in types

    types = specs[f"{name}.ksy"].get("types", {})
    structs = {path: body for path, body in types.items() if "-orig-id" in body}
    missing = [
        f"{path}.{field['id']}"
        for path, body in structs.items()
        for field in body["seq"]
        if "-orig-id" not in field and not is_nameless(field, types)
    ]
    assert structs
    assert missing == []


@pytest.mark.parametrize("name", SPECS)
def test_no_field_refuses_what_it_reads(specs: dict[str, Spec], name: str) -> None:
    fields = fields_of(specs[f"{name}.ksy"], name)
    assert [path for path, field in fields if {"valid", "contents"} & field.keys()] == []


LEAN = {
    "esp_ds_block": ["box"],
    "esp_nvs": ["page_header", "entry_header", "variable_length", "blob_index"],
    "esp_partition_table": ["row", "md5_row"],
    "esp_secure_cert_cust_flash": ["metadata_with_ds", "metadata_without_ds"],
    "esp_secure_cert_signature": ["header", "rsa_body", "ecdsa_body"],
    "esp_secure_cert_tlv": [
        "entry_header",
        "entry_footer",
        "ds_data",
        "ds_context",
        "security_config",
    ],
}


@pytest.mark.parametrize(("name", "lean"), [(name, t) for name in LEAN for t in LEAN[name]])
def test_what_is_read_often_is_plain(specs: dict[str, Spec], name: str, lean: str) -> None:
    for field in specs[f"{name}.ksy"]["types"][lean]["seq"]:
        assert field.get("type", "u1") in {"u1", "u2", "u4"}, field["id"]
        assert not {"enum", "if", "repeat", "process"} & field.keys(), field["id"]


# --- What the specs read -----------------------------------------------------------------------


def explore(value: object) -> None:
    """Evaluates every field and instance, as a viewer would."""
    if isinstance(value, list):
        for element in value:
            explore(element)
    elif isinstance(value, KaitaiStruct):
        names = [name for name, kind in vars(type(value)).items() if isinstance(kind, property)]
        for name in [*vars(value), *names]:
            if not name.startswith("_"):
                explore(getattr(value, name))


def cuts(data: bytes) -> Iterator[bytes]:
    """The beginning of the data, in many lengths."""
    size = len(data)
    lengths = {*range(min(size, 160)), *range(0, size, 509), *range(max(size - 40, 0), size)}
    return (data[:length] for length in sorted(lengths))


def damaged(data: bytes, count: int = 60) -> Iterator[bytes]:
    """Copies of the data with some bytes replaced, most of them near the beginning."""
    source = random.Random(len(data))
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(source.randint(1, 12)):
            copy[source.randrange(min(len(copy), source.choice([64, 4096, len(copy)])))] = (
                source.randrange(256)
            )
        yield bytes(copy)


PARSERS: list[Parser] = [
    EspSecureCertTlv,
    EspSecureCertCustFlash,
    EspSecureCertSignature,
    EspNvs,
    EspPartitionTable,
]
ALL_IMAGES = sorted(path.relative_to(IMAGES).as_posix() for path in IMAGES.glob("*/*.bin"))


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" * 5000, b"\0" * 5000])
def test_nothing_is_read_from_nothing(parser: Parser, data: bytes) -> None:
    explore(parse(parser, data))


@pytest.mark.skipif(not ALL_IMAGES, reason="the real images are not here")
@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("name", ALL_IMAGES)
def test_every_parser_survives_every_image(parser: Parser, name: str) -> None:
    explore(parse(parser, image(name)))


def tlv_entry(kind: int, subtype: int, data: bytes) -> bytes:
    header = b"\x11\xba\x5e\xba\0\0\0\0" + bytes([kind, subtype]) + len(data).to_bytes(2, "little")
    return header + data + bytes(-len(data) % 16) + b"\x12\x34\x56\x78"


def tlv_contents(data: bytes) -> list[tuple[int, int, int]]:
    entries = parse(EspSecureCertTlv, data).entries
    assert all(len(entry.data) == entry.header.len_data for entry in entries)
    return [(e.header.type, e.header.subtype, e.header.len_data) for e in entries]


TLV_IMAGES = {
    "cust_flash_tlv/partition.bin": [(1, 0, 974), (0, 0, 974), (2, 0, 1680)],
    "tlv_from_csv/partition.bin": [
        (0, 0, 1108),
        (0, 1, 1108),
        (1, 0, 1156),
        (2, 0, 1680),
        (51, 0, 31),
        (52, 0, 16),
        (9, 0, 32),
    ],
    "tlv_rsa_ds_c3/partition.bin": [(3, 0, 1220), (4, 0, 8), (1, 0, 1108), (9, 0, 32)],
    "tlv_signed/partition.bin": [
        (0, 0, 1108),
        (1, 0, 1156),
        (2, 0, 1680),
        (8, 0, 1232),
        (8, 1, 1232),
        (8, 2, 1232),
    ],
}


@pytest.mark.parametrize("name", TLV_IMAGES)
def test_tlv_entries_remain_readable_in_a_cut_image(name: str) -> None:
    data, expected = image(name), TLV_IMAGES[name]
    ends = [0]
    for _, _, length in expected:
        ends.append(ends[-1] + 16 + (length + 15) // 16 * 16)
    near = [end + delta for end in ends for delta in (-1, 0, 1, 15, 16)]
    for length in sorted({*near, *range(0, len(data), 97), len(data)} & {*range(len(data) + 1)}):
        whole = sum(end <= length for end in ends[1:])
        parsed = parse(EspSecureCertTlv, data[:length])
        explore(parsed)
        assert tlv_contents(data[:length]) == expected[:whole]
        assert parsed.len_used == ends[whole]
        assert parsed.unused == data[ends[whole] : length]


@pytest.mark.parametrize("name", TLV_IMAGES)
def test_tlv_survives_damage(name: str) -> None:
    for data in damaged(image(name)):
        explore(parse(EspSecureCertTlv, data))


def test_tlv_walks_past_a_wrong_crc_and_ends_at_a_wrong_magic() -> None:
    first, second, third = (tlv_entry(kind, 0, b"x" * kind) for kind in (1, 16, 17))
    assert tlv_contents(first[:-4] + b"\0\0\0\0" + second) == [(1, 0, 1), (16, 0, 16)]
    assert tlv_contents(first + b"\x10" + second[1:] + third) == [(1, 0, 1)]


def test_tlv_lengths_up_to_the_largest() -> None:
    entries = b"".join(tlv_entry(1, 0, bytes(length)) for length in (0, 65521, 65535, 3))
    assert [length for _, _, length in tlv_contents(entries)] == [0, 65521, 65535, 3]


def test_tlv_entry_lies_where_its_layout_says() -> None:
    [entry] = parse(EspSecureCertTlv, tlv_entry(200, 7, b"abc")).entries
    header = entry.header
    assert (header.magic, header.type_name, header.subtype) == (0xBA5EBA11, 200, 7)
    assert (entry.data, entry.padding, entry.footer.crc) == (b"abc", bytes(13), 0x78563412)


def test_tlv_flags() -> None:
    def flags(value: int) -> tuple[int, int, int]:
        parsed = parse(EspSecureCertTlv.Flags, bytes([value]))
        return int(parsed.reserved), int(parsed.key_storage), int(parsed.hmac_use)

    peripheral = int(EspSecureCertTlv.KeyStorage.ecdsa_peripheral)
    assert flags(0x80) == (0, 0, int(EspSecureCertTlv.HmacUse.encryption))
    assert flags(0x40) == (0, 0, int(EspSecureCertTlv.HmacUse.key_derivation))
    assert flags(0x08) == (0, peripheral, 0)
    assert flags(0xFF) == (7, 7, 3)


def test_tlv_typed_data() -> None:
    steps = parse(EspSecureCertTlv, image("tlv_rsa_ds_c3/partition.bin")).steps
    assert (steps[0].ds_data.rsa_length, len(steps[0].ds_data.ciphertext)) == (63, 1200)
    assert (steps[1].ds_context.efuse_key_id, steps[1].ds_context.rsa_length_bits) == (1, 2048)
    assert steps[2].ds_data is steps[2].ds_context is None
    block = parse(EspSecureCertTlv, image("tlv_signed/partition.bin")).steps[3].signature_block
    assert block.algorithm_name == EspSecureCertTlv.SignatureAlgorithm.rsa_3072
    assert (block.version, block.len_signed, len(block.body)) == (1, 4016, 1216)


CUST_FLASH_IMAGES: dict[str, dict[str, int | None]] = {
    "cust_flash/partition.bin": {"dev_cert": 974, "ca_cert": 510, "priv_key": 1680, "iv": None},
    "cust_flash_legacy/partition.bin": {
        "dev_cert_swapped": 974,
        "ca_cert_swapped": 510,
        "priv_key": 1680,
        "ciphertext": None,
    },
    "cust_flash_rsa_ds_c3/partition.bin": {
        "dev_cert": 1104,
        "ca_cert": 1246,
        "priv_key": None,
        "ciphertext": 1200,
        "iv": 16,
    },
    "cust_flash_legacy_rsa_ds_s2/partition.bin": {
        "dev_cert_swapped": 1412,
        "ca_cert_swapped": 1246,
        "ciphertext": 1584,
        "iv": 16,
    },
}


@pytest.mark.parametrize("name", CUST_FLASH_IMAGES)
def test_cust_flash_areas(name: str) -> None:
    parsed = parse(EspSecureCertCustFlash, image(name))
    for area, length in CUST_FLASH_IMAGES[name].items():
        value = getattr(parsed, area)
        assert (None if value is None else len(value.data)) == length, area
        assert value is None or value.is_whole


@pytest.mark.parametrize(
    ("name", "area", "part"),
    [
        ("cust_flash", "dev_cert", "device_cert.pem"),
        ("cust_flash", "ca_cert", "ca_cert.pem"),
        ("cust_flash", "priv_key", "priv_key.pem"),
        ("cust_flash_legacy", "dev_cert_swapped", "device_cert.pem"),
        ("cust_flash_legacy", "ca_cert_swapped", "ca_cert.pem"),
    ],
)
def test_cust_flash_items_are_the_files_they_were_made_of(name: str, area: str, part: str) -> None:
    parsed = parse(EspSecureCertCustFlash, image(f"{name}/partition.bin"))
    assert getattr(parsed, area).data == image(f"{name}/{part}") + b"\0"


@pytest.mark.parametrize("name", CUST_FLASH_IMAGES)
def test_cust_flash_survives_cuts_and_damage(name: str) -> None:
    data = image(name)
    for changed in [*cuts(data), *damaged(data)]:
        explore(parse(EspSecureCertCustFlash, changed))


@pytest.mark.parametrize("name", CUST_FLASH_IMAGES)
def test_cust_flash_metadata_remain_readable_in_a_cut_image(name: str) -> None:
    data = image(name)
    whole = parse(EspSecureCertCustFlash, data)
    for cut in cuts(data):
        parsed = parse(EspSecureCertCustFlash, cut)
        assert parsed.is_without_ds == (whole.is_without_ds and len(cut) >= 28)
        assert parsed.is_with_ds == (whole.is_with_ds and len(cut) >= 40)
        if parsed.dev_cert is not None:
            assert parsed.dev_cert.data == cut[64 : 64 + whole.dev_cert.len_stored]


def test_cust_flash_length_beyond_the_end() -> None:
    data = bytearray(100)
    data[4:6] = b"\xff\xff"
    data[24:28] = (0x12345678).to_bytes(4, "little")
    area = parse(EspSecureCertCustFlash, bytes(data)).dev_cert
    assert (area.len_stored, area.is_whole, area.data) == (65535, False, bytes(36))


NVS_IMAGES = {
    "nvs/partition.bin": ["full", "full", "uninitialized"],
    "nvs_rsa_ds_c3/partition.bin": ["full", "full", "uninitialized"],
    "nvs_samples/part_old_blob_format.bin": ["active"],
    "nvs_worn/dev_gc.bin": ["full", "uninitialized", "full", "active"],
    "nvs_worn/nods_v1_0x4000.bin": ["full", "active", "uninitialized", "uninitialized"],
}


@pytest.mark.parametrize("name", NVS_IMAGES)
def test_nvs_pages_remain_readable_in_a_cut_image(name: str) -> None:
    data, expected = image(name), NVS_IMAGES[name]
    for cut in [*cuts(data), data]:
        parsed = parse(EspNvs, cut)
        whole = len(cut) // 4096
        assert [page.header.state_name.name for page in parsed.pages] == expected[:whole]
        assert parsed.partial_page == cut[whole * 4096 :]


@pytest.mark.parametrize("name", NVS_IMAGES)
def test_nvs_survives_damage(name: str) -> None:
    for data in damaged(image(name), count=10):
        explore(parse(EspNvs, data))


def test_nvs_entries() -> None:
    data = image("nvs/partition.bin")
    page = parse(EspNvs, data).pages[0]
    namespace, first = page.slots_as_entries[:2]
    assert namespace.key == b"esp_secure_cert\0"
    assert (namespace.namespace_index, namespace.type_name.name) == (0, "u8")
    assert first.type_name == EspNvs.EntryType.string
    length = parse(EspNvs.VariableLength, first.data).len_data
    assert first.span == 1 + (length + 31) // 32
    assert page.entry_states == data[32:64]
    assert b"".join(page.slots) == data[64:4096]


def test_nvs_slot_states_are_the_bits_of_the_bitmap() -> None:
    bitmap = random.Random(0).randbytes(32)
    states = parse(EspNvs, bytes(32) + bitmap + bytes(4032)).pages[0].slot_states
    assert [int(state) for state in states] == [
        bitmap[slot // 4] >> 2 * (slot % 4) & 3 for slot in range(126)
    ]


def test_nvs_blob_index() -> None:
    index = parse(EspNvs.BlobIndex, b"\xb0\x04\0\0\x02\x80\xff\xff")
    assert (index.len_blob, index.num_chunks, index.chunk_start) == (1200, 2, 0x80)


TABLE_IMAGES = {
    "cust_flash": b"esp_secure_cert",
    "cust_flash_legacy": b"pre_prov",
    "cust_flash_tlv": b"esp_secure_cert",
    "nvs": b"esp_secure_cert",
    "nvs_legacy": b"pre_prov",
}


@pytest.mark.parametrize("name", TABLE_IMAGES)
def test_partition_table_rows_remain_readable_in_a_cut_image(name: str) -> None:
    data = image(f"{name}/partition-table.bin")
    rows = parse(EspPartitionTable, data).rows
    assert [row.magic for row in rows] == [b"\xaa\x50", b"\xaa\x50", b"\xeb\xeb"]
    assert rows[0].label.rstrip(b"\0") == TABLE_IMAGES[name]
    for length in [*range(len(data)), len(data)]:
        assert len(parse(EspPartitionTable, data[:length]).rows) == min(length // 32, 3)
    for changed in damaged(data):
        explore(parse(EspPartitionTable, changed))


def test_partition_table_row() -> None:
    data = bytes.fromhex("aa50 3f06 00d00000 00600000") + b"a label of 16 by" + b"\x03\0\0\0"
    [row] = parse(EspPartitionTable, data).rows
    assert (row.type_name, row.subtype) == (EspPartitionTable.PartitionType.esp_secure_cert, 6)
    assert (row.offset, row.size, row.label) == (0xD000, 0x6000, b"a label of 16 by")
    assert row.is_encrypted
    assert row.is_readonly


def test_partition_table_ends_after_96_rows() -> None:
    assert len(parse(EspPartitionTable, (b"\xaa\x50" + bytes(30)) * 100).rows) == 96


def test_partition_table_shows_rows_behind_the_digest() -> None:
    row, digest = b"\xaa\x50" + bytes(30), b"\xeb\xeb" + b"\xff" * 14 + bytes(range(16))
    rows = parse(EspPartitionTable, row + digest + row + b"\xff" * 32 + row).rows
    assert [type(row).__name__ for row in rows] == ["Row", "Md5Row", "Row"]
    assert rows[1].digest == bytes(range(16))
