"""The JSON Schemas: every object of every verb is valid, and what is wrong is found."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import espcert
from espcert import (
    building,
    comparison,
    conversion,
    detection,
    flash_table,
    inspection,
    migration,
    schemas,
    signing,
    verification,
)
from espcert.catalogue import ACCEPTABLE, CATALOGUE
from espcert.decryption import Reader
from espcert.fleet import work
from espcert.fleet.task import AUDIT, Source, Task
from espcert_formats import partition_table, tlv

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "fixtures"
REAL = ROOT.parent / "shared" / "images"
BIN = Path(sys.executable).parent / "espcert"
Object = dict[str, Any]

TRUTH: list[Object] = json.loads((FIXTURES / "truth.json").read_text("utf-8"))
FIXED = {row["file"]: FIXTURES / row["file"] for row in TRUTH}
REAL_NAMES = (
    *("cust_flash", "cust_flash_legacy", "cust_flash_legacy_rsa_ds_s2", "cust_flash_rsa_ds_c3"),
    *("cust_flash_tlv", "nvs", "nvs_esp_ds_c3", "nvs_legacy", "nvs_rsa_ds_c3"),
    *("tlv_from_csv", "tlv_rsa_ds_c3", "tlv_signed"),
)
REAL_PATHS = {f"{name}/partition.bin": REAL / name / "partition.bin" for name in REAL_NAMES}
REAL_PATHS |= {f"nvs_worn/{path.name}": path for path in sorted((REAL / "nvs_worn").glob("*.bin"))}
REAL_PATHS["tlv_signed/partition-corrupt.bin"] = REAL / "tlv_signed" / "partition-corrupt.bin"
PATHS = FIXED | REAL_PATHS
UNREADABLE = {
    "empty": b"",
    "erased": b"\xff" * 4096,
    "truncated": b"\x11\xba",
    "partition_table": b"\xaa\x50" + bytes(4094),
    "app_image": b"\xe9\x03" + bytes(4094),
    "unknown": bytes(4096),
}

each_image = pytest.mark.parametrize("name", PATHS)


def path_of(name: str) -> Path:
    path: Path = PATHS[name]
    if not path.exists():
        pytest.skip(f"{name} is not here: the real images lie in ../shared beside the repository")
    return path


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas.load(name))


def errors(name: str, found: Object) -> list[str]:
    return [f"{e.json_path}: {e.message[:120]}" for e in validator(name).iter_errors(found)]


def as_printed(path: Path, fields: Object) -> Object:
    """The fields as the command prints them."""
    printed: Object = json.loads(json.dumps({"schema": 1, "file": str(path)} | fields))
    return printed


@pytest.mark.parametrize("name", schemas.names())
def test_schema_is_one(name: str) -> None:
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f":{name}")
    assert schema["title"]


def test_schemas_of_all_verbs_are_there() -> None:
    from espcert.cli.app import GROUPS, VERBS

    assert schemas.names() == sorted({*VERBS, *GROUPS, "error"})
    with pytest.raises(KeyError):
        schemas.load("../detect")


def test_definitions_of_one_name_are_one() -> None:
    """Each schema stands alone, so what they share is in each of them: the same."""
    seen: dict[str, Object] = {}
    for name in schemas.names():
        for key, definition in schemas.load(name).get("$defs", {}).items():
            assert seen.setdefault(key, definition) == definition


def test_every_reference_and_definition_is_used() -> None:
    for name in schemas.names():
        text = json.dumps(schemas.load(name))
        used = set(re.findall(r'"#/\$defs/(\w+)"', text))
        assert used == set(schemas.load(name).get("$defs", {}))


def test_enumerations_are_those_of_the_code() -> None:
    definitions = schemas.load("migrate")["$defs"]
    reading = definitions["reading"]["properties"]
    names = set(tlv.KIND_OF_TYPE.values()) - {tlv.DS_DATA} | {"ds_iv", "ds_ciphertext"}
    kind = re.compile(definitions["item"]["properties"]["kind"]["pattern"])
    assert all(kind.fullmatch(name) for name in {*names, "unknown_254"})
    assert not any(kind.fullmatch(name) for name in ("ds_data", "user_data_6", "device_certs"))
    assert {row["layout"] for row in TRUTH} | {"csv", "pem", None} == set(reading["layout"]["enum"])
    code = re.compile(definitions["finding"]["properties"]["code"]["pattern"])
    assert all(code.fullmatch(name) for name in CATALOGUE)


# --- Objects -----------------------------------------------------------------------------------


@each_image
def test_detect_and_inspect(name: str) -> None:
    path = path_of(name)
    reading = espcert.detect(espcert.open_image(path))
    assert errors("detect", as_printed(path, detection.to_json(reading))) == []
    assert errors("inspect", as_printed(path, inspection.to_json(reading))) == []


@each_image
def test_verify(name: str) -> None:
    path = path_of(name)
    reading = espcert.detect(espcert.open_image(path))
    for found in (
        espcert.verify(reading),
        espcert.verify(reading, chip="esp32c5", firmware="2.4.0", hmac_key=b"\1" * 32),
    ):
        for judged in ("ok", "warning", "error"):
            shown = verification.to_json(reading, found, judged)
            assert errors("verify", as_printed(path, shown)) == []


@each_image
def test_migrate(name: str) -> None:
    path = path_of(name)
    reading = espcert.detect(espcert.open_image(path))
    for options in (
        migration.Options(),
        migration.Options(accept=frozenset(ACCEPTABLE), integrity=False),
        migration.Options(size=0x8000, chip="esp32s2"),
    ):
        result = espcert.migrate(reading, options)
        dry = migration.to_json(result, None)
        assert errors("migrate", as_printed(path, dry)) == []
        if result.output is not None:
            written = migration.to_json(result, "out.bin")
            assert errors("migrate", as_printed(path, written)) == []


@each_image
def test_convert_and_diff(name: str) -> None:
    path = path_of(name)
    reading = espcert.detect(espcert.open_image(path))
    for to in conversion.TARGETS:
        result = espcert.convert(reading, to, accept=frozenset(ACCEPTABLE))
        written = conversion.to_json(result, None if result.refused else "out.bin")
        assert errors("convert", as_printed(path, written)) == []
        dry = conversion.to_json(espcert.convert(reading, to), None)
        assert errors("convert", as_printed(path, dry)) == []
    other = espcert.detect(espcert.open_image(FIXED["images/tlv_damaged_ca.bin"]))
    for pair in ((reading, other), (other, reading), (reading, reading)):
        found = comparison.to_json(espcert.compare(*pair))
        assert errors("diff", as_printed(path, found)) == []


@each_image
def test_sign(name: str) -> None:
    path = path_of(name)
    reading = espcert.detect(espcert.open_image(path))
    key = espcert.open_signing_key(FIXTURES / "inputs" / "sign_p256.key")
    options = espcert.SigningOptions(accept=signing.ACCEPTED_HERE)
    try:
        result = espcert.sign(reading, [key], options)
    except espcert.RefusedError as error:
        assert "migrate" in error.message
        return
    assert errors("sign", as_printed(path, signing.to_json(result, None))) == []
    if result.output is not None:
        assert errors("sign", as_printed(path, signing.to_json(result, "out.bin"))) == []
    source = signing.unsigned(reading, options)
    digest = "digest.bin" if result.output is not None else None
    asked = signing.digest_to_json(source, key.scheme, digest)
    assert errors("sign", as_printed(path, asked)) == []


def lines_of(*arguments: str | Path) -> list[Object]:
    done = subprocess.run(
        [str(BIN), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_the_command_prints() -> None:
    """The objects above are those of the command."""
    paths = list(FIXED.values())
    for verb in ("detect", "inspect", "verify"):
        found = lines_of(verb, "--json", *paths)
        assert len(found) == len(paths)
        assert [error for one in found for error in errors(verb, one)] == []


def test_what_migrate_prints(tmp_path: Path) -> None:
    for name in ("nvs_ec", "nvs_lost_key", "tlv_end_marker"):
        image = FIXTURES / "images" / f"{name}.bin"
        (found,) = lines_of("migrate", "--json", image, "-o", tmp_path / f"{name}.bin")
        assert errors("migrate", found) == []


def test_what_sign_prints(tmp_path: Path) -> None:
    key = FIXTURES / "inputs" / "sign_p256.key"
    for name in ("tlv_ec", "tlv_damaged_ca", "nvs_ec"):
        image = FIXTURES / "images" / f"{name}.bin"
        (found,) = lines_of("sign", "--json", image, "--key", key, "-o", tmp_path / f"{name}.bin")
        assert errors("error" if name == "nvs_ec" else "sign", found) == []


@pytest.mark.parametrize("code", UNREADABLE)
def test_unreadable_images(code: str, tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(UNREADABLE[code])
    (found,) = lines_of("detect", "--json", path)
    assert errors("detect", found) == []
    assert found["reason_code"] == code
    signs = ["sign", "--dry-run", "--key", str(FIXTURES / "inputs" / "sign_p256.key")]
    for verb in (["inspect"], ["verify"], ["migrate", "--dry-run"], signs):
        (found,) = lines_of(*verb, "--json", path)
        assert errors("error", found) == []
        assert errors(verb[0], found)


# --- The schemas can fail ----------------------------------------------------------------------


def signed_every_type() -> signing.Signing:
    """An image with every kind of item, signed, and with something found in it."""
    reading = espcert.detect(espcert.open_image(FIXED["images/tlv_every_type.bin"]))
    key = espcert.open_signing_key(FIXTURES / "inputs" / "sign_p256.key")
    return espcert.sign(reading, [key], espcert.SigningOptions(accept=signing.ACCEPTED_HERE))


def built_sample() -> building.Built:
    """A partition with a key to burn, into two blocks."""
    inputs = FIXTURES / "verify" / "inputs"
    certificate, key = ((inputs / f"p384.{end}").read_bytes() for end in ("pem", "key"))
    parts: list[building.Part] = [espcert.Stored("device_cert", certificate)]
    return espcert.build([*parts, espcert.EcdsaKey(key, 1)], chip="esp32p4")


def samples() -> dict[str, Object]:
    """A valid object of each schema, with every kind of item that has fields of its own."""
    every = FIXED["images/tlv_every_type.bin"]
    reading = espcert.detect(espcert.open_image(every))
    refused = espcert.detect(espcert.open_image(FIXED["images/nvs_other_data.bin"]))
    row = partition_table.Row(b"esp_secure_cert", 0x3F, 6, 0xD000, 0x2000, 0)
    listed = partition_table.Table(0x8000, (row,), md5_ok=True)
    found = {
        "detect": detection.to_json(reading),
        "inspect": inspection.to_json(reading),
        "verify": verification.to_json(refused, espcert.verify(refused), "ok"),
        "migrate": migration.to_json(espcert.migrate(refused), None),
        "build": building.to_json(built_sample(), None),
        "convert": conversion.to_json(espcert.convert(refused, "nvs"), None),
        "diff": comparison.to_json(espcert.compare(reading, refused)),
        "partitions": flash_table.to_json(flash_table.FlashTable(listed, Reader(b""))),
        "sign": signing.to_json(signed_every_type(), None),
        "error": {"error": {"code": "too-large", "message": "too large"}},
    }
    task = Task(AUDIT, datetime(2026, 1, 1, tzinfo=timezone.utc))
    audited = work.process(Source(str(FIXED["images/nvs_legacy_ds_c3.bin"]), "1"), task) or {}
    audited["fingerprints"] = {}
    found["fleet"] = audited
    found["inspect"]["other_entries"] = []
    printed = {name: as_printed(every, fields) for name, fields in found.items()}
    del printed["fleet"]["file"]  # a record names its source
    return printed


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_valid(name: str) -> None:
    assert errors(name, SAMPLES[name]) == []
    assert errors(name, SAMPLES[name] | {"a_field_of_the_future": 1}) == []


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_of_an_object_is_required(name: str) -> None:
    for field in SAMPLES[name]:
        fewer = {key: value for key, value in SAMPLES[name].items() if key != field}
        assert errors(name, fewer), field


def places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of an object, with the way to it."""
    yield path, found
    if isinstance(found, (dict, list)):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from places(value, (*path, key))


def without(found: Object, path: tuple[Any, ...]) -> Object:
    changed = copy.deepcopy(found)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_of_an_inner_object_is_required(name: str) -> None:
    for path, _ in places(SAMPLES[name]):
        if path and isinstance(path[-1], str) and path[-1] != "spans":
            assert errors(name, without(SAMPLES[name], path)), path


WRONG_VALUES: dict[str, list[Any]] = {
    "schema": [2, "1", None],
    "container": ["file", None],
    "layout": ["TLV", "", 0],
    "key": ["ecdsa", None],
    "revision": ["2.1", ""],
    "chip_family": ["ds2048"],
    "file_offset": [-1, "0", None],
    "sha256": ["E" * 64, "e" * 63, None],
    "intact": ["yes", 1],
    "kind": ["ds_data", "user_data_6", ""],
    "index": [-1, 256, None],
    "flags": [-1, "0", None],
    "length": [-1, None],
    "encoding": ["PEM", None],
    "protection": ["none", None],
    "not_before": ["2020-01-01", "2020-01-01T00:00:00+00:00", "999-01-01T00:00:00Z", 1],
    "serial": ["0x1f", "1F", 31],
    "severity": ["fatal", None],
    "verdict": ["fatal", "info", None],
    "proven": ["yes", 1],
    "code": ["Item CRC", None],
    "efuse_block": ["6", 256],
    "output": [1],
    "before": [1],
    "after": [None, "pre_prov, 0x3f, 0x06, 0xd000, 0x6000,"],
}


@pytest.mark.parametrize("field", WRONG_VALUES)
def test_wrong_values_are_found(field: str) -> None:
    tried = 0
    for name, sample in SAMPLES.items():
        for path, _ in places(sample):
            if path and path[-1] == field:
                for value in WRONG_VALUES[field]:
                    assert errors(name, replaced(sample, path, value)), (name, path, value)
                    tried += 1
    assert tried


def replaced(found: Object, path: tuple[Any, ...], value: Any) -> Object:
    changed = copy.deepcopy(found)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def test_a_written_output_has_a_digest_and_no_error() -> None:
    reading = espcert.detect(espcert.open_image(FIXED["images/tlv_ec.bin"]))
    found = as_printed(Path("x"), migration.to_json(espcert.migrate(reading), "out.bin"))
    assert errors("migrate", found) == []
    assert errors("migrate", found | {"output_sha256": None})
    assert errors("migrate", found | {"output": None})
    beside = {"table_output": "table.bin", "plan_output": "plan.sh"}
    assert errors("migrate", found | beside) == []
    assert errors("migrate", found | beside | {"output": None, "output_sha256": None})
    assert errors("migrate", found | {"items": []})


def test_a_row_keeps_its_subtype() -> None:
    reading = espcert.detect(espcert.open_image(FIXED["images/tlv_ec.bin"]))
    found = as_printed(Path("x"), migration.to_json(espcert.migrate(reading), None))
    for row in ("0x3f, 0x42, 0xd000, 0x2000,", "0x3f, 0x06, <offset>, 0x2000, encrypted"):
        table = {"before": None, "after": f"esp_secure_cert, {row}"}
        assert errors("migrate", found | {"partition_table": table}) == []
    table = {"before": None, "after": "esp_secure_cert, 0x40, 0x06, 0xd000, 0x2000,"}
    assert errors("migrate", found | {"partition_table": table})


def test_a_partition_that_was_built_has_a_digest_and_items() -> None:
    found = as_printed(Path("x"), building.to_json(built_sample(), "out.bin"))
    assert errors("build", found) == []
    assert errors("build", found | {"output_sha256": None})
    assert errors("build", found | {"output": None})
    assert errors("build", found | {"items": []})
    assert errors("build", found | {"layout": "nvs"})
    assert errors("build", found | {"efuse_commands": [""]})


def test_detect_without_layout_has_a_reason() -> None:
    reason = {"layout": None, "key": "none", "revision": None, "reason": "why"}
    assert errors("detect", SAMPLES["detect"] | reason)
    assert errors("detect", SAMPLES["detect"] | reason | {"reason_code": "erased"}) == []
    assert errors("detect", SAMPLES["detect"] | reason | {"reason_code": "other"})
    assert errors("detect", SAMPLES["detect"] | {"reason": "why", "reason_code": "erased"})
