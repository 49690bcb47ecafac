"""One image of a fleet: its record says what the single verbs say, and who the module is."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.support import FIXTURES
from tests.toolkit import pki

import espcert
from espcert import detection, migration, schemas, verification
from espcert.fleet import manifest, work
from espcert.fleet.task import AUDIT, MIGRATE, Source, Task
from espcert_formats import cust_flash, registry, tlv

AT = datetime(2026, 6, 1, tzinfo=timezone.utc)
IMAGES = sorted((FIXTURES / "images").glob("*.bin"))
VALIDATOR = Draft202012Validator(schemas.load("fleet"))
KEY = str(FIXTURES / "inputs" / "hmac_key.bin")

each_image = pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)


def record_of(path: Path, verb: str = AUDIT, output: Path | None = None, **more: Any) -> Any:
    """The record of an image, which is valid."""
    given = {name: more.pop(name) for name in ("hmac_key", "named") if name in more}
    source = Source(str(path), path.stem, output=None if output is None else str(output), **given)
    record = work.process(source, Task(verb, AT, **more))
    assert record is not None
    assert list(VALIDATOR.iter_errors(json.loads(json.dumps(record)))) == []
    return record


def image_with(device: pki.Issued, folder: Path, name: str = "image.bin") -> Path:
    """A TLV partition with a certificate and its key."""
    entries = [
        pki.entry("device_cert", device.pem + b"\0"),
        pki.entry("private_key", pki.key_bytes(device.key)),
    ]
    path = folder / name
    path.write_bytes(bytes(tlv.chain(entries, integrity=True)).ljust(0x2000, b"\xff"))
    return path


@each_image
def test_an_audit_says_what_verify_says(path: Path) -> None:
    record = record_of(path)
    reading = espcert.detect(espcert.open_image(path))
    found = espcert.verify(reading, at=AT)
    judged = verification.verdict(found)
    expected = verification.to_json(reading, found, judged)
    assert {name: record[name] for name in expected} == expected
    assert (record["status"], record["exit_code"]) == ("done", int(judged == "error"))


@each_image
def test_a_migration_says_and_writes_what_migrate_does(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "below" / "new.bin"
    record = record_of(path, MIGRATE, output)
    options = migration.Options(at=AT)
    result = espcert.migrate(espcert.detect(espcert.open_image(path)), options)
    expected = migration.to_json(result, None if result.refused else str(output))
    assert {name: record[name] for name in expected} == expected
    if result.refused:
        assert (record["status"], record["exit_code"]) == ("failed", 1)
        assert record["error"]["code"] == "refused"
        assert not output.exists()
    else:
        assert output.read_bytes() == result.file
        assert hashlib.sha256(output.read_bytes()).hexdigest() == record["output_sha256"]


def test_who_the_module_is(tmp_path: Path) -> None:
    device = pki.make_leaf(pki.make_ca("A CA"), "module 7", until=2030)
    path = image_with(device, tmp_path)
    record = record_of(path)
    key = device.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert record["subject"] == "CN=module 7"
    assert record["serial"] == f"{device.certificate.serial_number:x}"
    assert record["not_after"] == "2030-01-01T00:00:00Z"
    assert record["key_sha256"] == hashlib.sha256(key).hexdigest()
    assert record["input_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["names"] == ["CN=A CA", "CN=module 7"]
    assert record["fingerprints"]["device_cert"] == [hashlib.sha256(device.der).hexdigest()]


def test_without_a_private_key_the_certificate_tells_the_key(tmp_path: Path) -> None:
    device = pki.make_leaf(None, "module")
    data = tlv.chain([pki.entry("device_cert", device.der)], integrity=False)
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(data).ljust(0x2000, b"\xff"))
    key = device.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert record_of(path)["key_sha256"] == hashlib.sha256(key).hexdigest()


@pytest.mark.parametrize(("days", "code"), [(200, None), (214, None), (215, "device-expires")])
def test_a_certificate_that_expires_soon(days: int, code: str | None, tmp_path: Path) -> None:
    """`device-expires`: 2027-01-01 is 214 days after the clock."""
    assert AT + timedelta(days=214) == datetime(2027, 1, 1, tzinfo=timezone.utc)
    path = image_with(pki.make_leaf(None, "module", until=2027), tmp_path)
    record = record_of(path, expires_within=days)
    codes = {finding["code"] for finding in record["findings"]}
    assert ("device-expires" in codes) == (code is not None)
    assert record_of(path, expires_within=10**12)["verdict"] == "warning"


def test_one_that_has_expired_does_not_expire(tmp_path: Path) -> None:
    path = image_with(pki.make_leaf(None, "module", until=2025), tmp_path)
    codes = {finding["code"] for finding in record_of(path, expires_within=90)["findings"]}
    assert "certificate-expired" in codes
    assert "device-expires" not in codes


FAILURES = {
    "erased": (b"\xff" * 4096, 3, "erased"),
    "empty": (b"", 3, "empty"),
    "too large": (bytes(4097), 3, "too-large"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_bad_image_has_a_record(case: str, tmp_path: Path) -> None:
    data, exit_code, code = FAILURES[case]
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    record = record_of(path, max_size=4096)
    assert (record["status"], record["exit_code"]) == ("failed", exit_code)
    assert record["error"]["code"] == code


def test_what_is_not_there_has_a_record(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "none.bin", "not-found"), (tmp_path, "is-directory")):
        record = record_of(path)
        assert (record["status"], record["exit_code"]) == ("failed", 2)
        assert record["error"]["code"] == code


def test_a_bug_is_a_record_that_shows_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(detection, "detect", fail)
    record = record_of(IMAGES[0])
    assert record["exit_code"] == 70
    assert "ValueError" in record["error"]["message"]
    assert "secret" not in json.dumps(record)


def test_text_in_a_directory_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes((FIXTURES / "inputs" / "ec_ca.pem").read_bytes())
    assert record_of(path, named=False)["status"] == "skipped"
    assert record_of(path)["status"] == "failed"


def test_a_directory_that_a_manifest_names_is_material(tmp_path: Path) -> None:
    folder = tmp_path / "module"
    reading = espcert.detect(espcert.open_image(IMAGES[0]))
    folder.mkdir()
    for item in reading.require().items:
        if item.kind == "device_cert":
            (folder / "device_cert.der").write_bytes(item.data)
    record = record_of(folder)
    assert (record["status"], record["container"]) == ("done", "pem")
    assert record["subject"]


def test_the_files_of_a_fleet_are_read_anew_in_each_run(tmp_path: Path) -> None:
    image = FIXTURES / "images" / "tlv_ec.bin"
    ca = tmp_path / "ca.pem"
    found = []
    for run, name in ((1, "ec_ca.pem"), (1, "rsa_ca.pem"), (2, "rsa_ca.pem")):
        ca.write_bytes((FIXTURES / "inputs" / name).read_bytes())
        found.append(record_of(image, ca=(str(ca),), mark="a", run=run)["verdict"])
    assert found == ["ok", "ok", "error"]


def test_known_bytes_need_no_record() -> None:
    path = IMAGES[0]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    task = Task(AUDIT, AT)
    assert work.run_batch([Source(str(path), "x", known=digest)], task) == [None]
    assert work.run_batch([Source(str(path), "x", known="0" * 64)], task) != [None]


# --- Keys ---------------------------------------------------------------------------------------


def codes_of(record: Any) -> set[str]:
    return {finding["code"] for finding in record["findings"]}


DS = FIXTURES / "images" / "tlv_ds_c3.bin"


@pytest.mark.parametrize("form", ["bin", "hex"])
def test_a_directory_of_keys(form: str, tmp_path: Path) -> None:
    key = Path(KEY).read_bytes()
    data = key if form == "bin" else key.hex().encode() + b"\n"
    (tmp_path / f"tlv_ds_c3.{form}").write_bytes(data)
    record = record_of(DS, hmac_keys=str(tmp_path))
    assert "ds-proven" in codes_of(record)
    assert record["proven"] is True
    assert key.hex() not in json.dumps(record)


def test_no_key_no_proof(tmp_path: Path) -> None:
    assert "ds-not-proven" in codes_of(record_of(DS, hmac_keys=str(tmp_path)))
    assert "ds-proven" in codes_of(record_of(DS, hmac_key=KEY))


def test_two_keys_that_differ(tmp_path: Path) -> None:
    (tmp_path / "tlv_ds_c3.bin").write_bytes(Path(KEY).read_bytes())
    (tmp_path / "tlv_ds_c3.hex").write_text("11" * 32)
    record = record_of(DS, hmac_keys=str(tmp_path))
    assert record["error"]["code"] == "two-hmac-keys"


@pytest.mark.parametrize("directory", ["d", "./d/../d", "link"])
def test_an_image_among_the_keys_is_not_its_own_key(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("d")
    folder.mkdir()
    Path("link").symlink_to(folder)
    image = folder / "m1.bin"
    image.write_bytes(DS.read_bytes())
    assert "ds-not-proven" in codes_of(record_of(image, hmac_keys=directory))
    (folder / "m1.hex").write_text(Path(KEY).read_bytes().hex())
    assert "ds-proven" in codes_of(record_of(image, hmac_keys=directory))


@pytest.mark.parametrize("column", manifest.KEYS)
def test_a_key_that_is_no_regular_file(column: str) -> None:
    """A pipe would be waited for without end."""
    given: dict[str, Any] = {column: os.devnull}
    record = work.process(Source(str(DS), "x", **given), Task(AUDIT, AT))
    assert record is not None
    assert record["error"]["code"] == "not-a-file"
    assert record["error"]["message"] == f"{os.devnull}: is not a regular file"


def test_a_key_in_a_directory_that_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "tlv_ds_c3.hex").symlink_to(os.devnull)
    assert record_of(DS, hmac_keys=str(tmp_path))["error"]["code"] == "not-a-file"


def test_a_key_of_the_name_of_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(Path(KEY).read_bytes())
    assert "ds-proven" in codes_of(record_of(DS, hmac_key="-"))


# --- Outputs ------------------------------------------------------------------------------------


def test_an_output_is_ours_by_its_bytes_alone(tmp_path: Path) -> None:
    output = tmp_path / "new.bin"
    path = IMAGES[0]
    first = record_of(path, MIGRATE, output)
    again = record_of(path, MIGRATE, output)
    assert first["output_sha256"] == again["output_sha256"] is not None
    output.write_bytes(b"mine")
    record = record_of(path, MIGRATE, output)
    assert record["error"]["code"] == "output-exists"
    assert output.read_bytes() == b"mine"
    assert record_of(path, MIGRATE, output, force=True)["status"] == "done"


def test_what_an_earlier_run_wrote_is_replaced(tmp_path: Path) -> None:
    output = tmp_path / "new.bin"
    output.write_bytes(b"of the old input")
    digest = hashlib.sha256(b"of the old input").hexdigest()
    source = Source(str(IMAGES[0]), "x", output=str(output), ours=digest)
    record = work.process(source, Task(MIGRATE, AT))
    assert record is not None
    assert record["status"] == "done"


def test_an_input_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(IMAGES[0].read_bytes())
    record = record_of(path, MIGRATE, path, force=True)
    assert record["error"]["code"] == "output-is-input"
    assert path.read_bytes() == IMAGES[0].read_bytes()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing tells what is synced")
def test_the_names_of_a_batch_are_on_disk_when_its_records_are_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each directory is synced behind its last output, its parent when it is made."""
    folders = [tmp_path / "one", tmp_path / "two"]
    outputs = [folder / f"{number}.bin" for folder in folders for number in range(3)]
    batch = [Source(str(IMAGES[0]), "x", output=str(output)) for output in outputs]
    fsync, synced = os.fsync, list[tuple[Path, int]]()

    def spy(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        if place.is_dir():
            synced.append((place, len(list(place.glob("*.bin")))))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", spy)
    records = work.run_batch(batch, Task(MIGRATE, AT))
    assert [record and record["status"] for record in records] == ["done"] * 6
    assert synced == [(tmp_path, 0)] * 2 + [(folder, 3) for folder in folders]


def test_an_output_that_no_system_takes_costs_the_others_nothing(tmp_path: Path) -> None:
    outputs = [str(tmp_path / "sub\0x" / "a.bin"), str(tmp_path / "b.bin")]
    batch = [Source(str(IMAGES[0]), "x", output=output) for output in outputs]
    bad, good = work.run_batch(batch, Task(MIGRATE, AT))
    assert bad is not None
    assert good is not None
    assert (bad["status"], good["status"]) == ("failed", "done")
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    output = tmp_path / "new.bin"
    record = record_of(IMAGES[0], MIGRATE, output)
    assert (record["exit_code"], record["error"]["code"]) == (4, "write-failed")
    assert list(tmp_path.iterdir()) == []


TEXTS = {
    "a table": b"a,b\n1,2",
    "lines of JSON": b'{"run": {}}\r\n' * 200,
    "a page": b"\xef\xbb\xbf<!doctype html>\n",
    "a letter over the border": b"x" * 1023 + "\u00e4".encode() * 9,
}
NO_TEXTS = {
    "nothing": b"",
    "a control character": b"a,b\x1b[0m",
    "text in erased flash": b"text".ljust(4096, b"\xff"),
    "text and zeros": (b"x" * 2000).ljust(4096, b"\0"),
    "no UTF-8": b"\xe4rger,b\n",
    "half a letter at the end": b"text\xc3",
    "text in a partition": bytes(tlv.MAGIC).ljust(2000, b"x"),
    "PEM where a partition has its magic": b"-----BEGIN ".ljust(cust_flash.MAGIC_WITH_DS, b"x")
    + cust_flash.MAGIC,
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_text_that_was_found_is_skipped(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    record = record_of(path, named=False)
    assert (record["status"], record["reason_code"], record["exit_code"]) == ("skipped", "text", 0)
    assert record_of(path)["status"] == "failed"


@pytest.mark.parametrize("data", NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_text_is_not_skipped(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    assert record_of(path, named=False)["status"] != "skipped"


@each_image
def test_no_image_is_text(path: Path) -> None:
    assert record_of(path, named=False)["status"] != "skipped"


@given(st.sampled_from(IMAGES), st.integers(40, 2000), st.text(max_size=2000))
def test_no_layout_begins_as_text(path: Path, length: int, text: str) -> None:
    """Whatever the certificates are, which are text, and however the image ends."""
    data = path.read_bytes()[:length] + text.encode()
    assume(registry.starts(data))
    assert not work._is_text(data)
    assert work.not_meant(data) is None
