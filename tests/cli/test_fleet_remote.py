"""`espcert fleet` with sources and outputs in an object store: an S3 server on loopback."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import fleet_maker
from tests.cli.runner import BIN, Result, environment, fixture, run
from tests.cli.test_fleet import AT
from tests.cli.test_fleet_killed import done_in, outputs
from tests.fleet_services import KEYS, Store, store

COUNT = 40
URL = "s3://fleet/dumps"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT, seed=5)
    return folder


@pytest.fixture(scope="module")
def s3(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds the dumps."""
    with store(tmp_path_factory.mktemp("s3")) as found:
        found.put(dumps, "dumps")
        yield found


def fleet(s3: Store, verb: str, *arguments: str | Path, **options: Any) -> Result:
    done = run("fleet", verb, *arguments, "--jobs", "1", env=s3.environment, **options)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.text
    return done


def local(records: list[dict[str, Any]], *pairs: tuple[str, str | Path]) -> list[dict[str, Any]]:
    """Records by source, with places under other names, and without what no two runs share."""
    text = json.dumps(sorted(records, key=lambda record: record["source"]))
    for url, path in pairs:
        text = text.replace(url, str(path))
    told: list[dict[str, Any]] = json.loads(text)
    return [
        {name: one[name] for name in one if name not in ("duration_ms", "input_version")}
        for one in told
    ]


def test_an_audit_of_a_prefix_is_that_of_a_directory(dumps: Path, s3: Store) -> None:
    there = fleet(s3, "audit", URL, *AT, "--json")
    here = run("fleet", "audit", dumps, *AT, "--json")
    assert there.code == here.code
    assert local(there.objects, (URL, dumps)) == local(here.objects)
    assert len(there.objects) == COUNT


def test_a_migration_from_store_to_store(dumps: Path, s3: Store, tmp_path: Path) -> None:
    arguments = (URL, "-o", "s3://fleet/new/", *AT, "--json", "--journal", tmp_path / "j")
    there = fleet(s3, "migrate", *arguments)
    here = run("fleet", "migrate", dumps, "-o", tmp_path / "out", *AT, "--json")
    assert there.code == here.code
    pairs = ((URL, dumps), ("s3://fleet/new", tmp_path / "out"))
    assert local(there.objects, *pairs) == local(here.objects)
    assert s3.get("new") == outputs(tmp_path / "out")
    again = fleet(s3, "migrate", *arguments)
    assert (again.code, again.out) == (there.code, "")


def test_from_a_store_to_a_directory_and_back(s3: Store, tmp_path: Path) -> None:
    down = fleet(s3, "migrate", f"{URL}/1", "-o", tmp_path / "down", *AT, "--quiet")
    up = ("migrate", tmp_path / "down", "-o", "s3://fleet/up", *AT, "--journal", tmp_path / "j")
    done = fleet(s3, *up, "--json")
    assert down.code in (0, 1, 3)
    assert done.code == 0, done.err
    assert s3.get("up") == outputs(tmp_path / "down")


def test_an_output_that_exists_is_in_the_way(s3: Store, tmp_path: Path) -> None:
    s3.client.put_object(Bucket="fleet", Key="full/m00000.bin", Body=b"precious")
    image = f"{URL}/0/m00000.bin"
    arguments = ("migrate", image, "-o", "s3://fleet/full", *AT, "--journal")
    done = fleet(s3, *arguments, tmp_path / "j")
    assert done.code == 2
    assert "s3://fleet/full/m00000.bin exists; --force replaces it" in done.err
    assert s3.get("full") == {"m00000.bin": b"precious"}
    assert not (tmp_path / "j").exists()
    assert fleet(s3, *arguments, tmp_path / "j", "--force").code == 0
    assert s3.get("full")["m00000.bin"] != b"precious"


@pytest.mark.parametrize("output", [URL, "s3a://fleet/dumps", "s3://fleet/dumps/"])
def test_sources_are_never_written(output: str, s3: Store, tmp_path: Path) -> None:
    before = s3.get("dumps")
    for source in (URL, f"{URL}/0/m00000.bin"):
        target = output if source == URL else f"{output.rstrip('/')}/0"
        more = ("--force", "--journal", tmp_path / "j")
        done = fleet(s3, "migrate", source, "-o", target, *AT, *more)
        assert done.code == 2
        assert "inputs are never changed" in done.err
    assert s3.get("dumps") == before


def test_patterns_lists_and_manifests_name_objects(s3: Store, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text(f"{URL}/0/m00000.bin\n{URL}/1\n{URL}/none.bin\n")
    row = {"image": f"{URL}/0/m00000.bin", "id": "M1", "output": "x/y.bin"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    names = sorted(name for name in s3.get("dumps") if name.startswith("1/"))
    done = fleet(s3, "audit", f"@{listed}", *AT, "--json")
    found = {one["source"]: one for one in done.objects}
    assert sorted(found) == sorted(f"{URL}/{name}" for name in [*names, "0/m00000.bin", "none.bin"])
    assert found[f"{URL}/none.bin"]["error"]["code"] == "not-found"
    done = fleet(s3, "audit", f"{URL}/1/m*.bin", f"{URL}/**/m00000.bin", *AT, "--json")
    assert len(done.objects) == len(names) + 1
    arguments = (tmp_path / "m.jsonl", "-o", "s3://fleet/rows", *AT, "--journal", tmp_path / "j")
    assert fleet(s3, "migrate", *arguments, "--json").object["id"] == "M1"
    assert list(s3.get("rows")) == ["x/y.bin"]


def test_what_is_left_out_is_counted(s3: Store, tmp_path: Path) -> None:
    image = Path(fixture("tlv_ec")).read_bytes()
    names = {"a.bin": image, ".b.bin": image, ".c/d": image, "big": bytes(70_000), "e/": b""}
    for name, data in {**names, "empty": b"", "f//g": image}.items():
        s3.client.put_object(Bucket="fleet", Key=f"odd/{name}", Body=data)
    arguments = ("s3://fleet/odd", *AT, "--max-size", "65536", "--report", tmp_path / "r.jsonl")
    done = fleet(s3, "audit", *arguments, "--json")
    found = {one["source"]: one for one in done.objects}
    assert sorted(found) == [f"s3://fleet/odd/{name}" for name in ("a.bin", "empty")]
    assert found["s3://fleet/odd/empty"]["reason_code"] == "empty"
    header = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["run"]
    assert header["skipped"] == {"hidden": 2, "too-large": 1, "empty-name": 1}


def test_changed_objects_are_done_again(s3: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        data = Path(fixture("tlv_ec")).read_bytes()
        s3.client.put_object(Bucket="fleet", Key=f"change/{name}.bin", Body=data)
    arguments = ("audit", "s3://fleet/change", *AT, "--json", "--journal", tmp_path / "j")
    first = fleet(s3, *arguments)
    assert len(first.objects) == 2
    assert all('"' in one["input_version"] for one in first.objects)
    assert fleet(s3, *arguments).objects == []
    other = Path(fixture("nvs_ec")).read_bytes()
    s3.client.put_object(Bucket="fleet", Key="change/b.bin", Body=other)
    assert [one["source"] for one in fleet(s3, *arguments).objects] == ["s3://fleet/change/b.bin"]


def test_outputs_that_have_gone_are_written_again(s3: Store, tmp_path: Path) -> None:
    arguments = ("migrate", f"{URL}/2", "-o", "s3://fleet/gone", *AT, "--journal", tmp_path / "j")
    fleet(s3, *arguments)
    before = s3.get("gone")
    lost = sorted(before)[0]
    s3.client.delete_object(Bucket="fleet", Key=f"gone/{lost}")
    done = fleet(s3, *arguments, "--json")
    assert [one["output"] for one in done.objects] == [f"s3://fleet/gone/{lost}"]
    assert s3.get("gone") == before


def test_an_interrupted_run_goes_on(s3: Store, dumps: Path, tmp_path: Path) -> None:
    arguments = ("migrate", URL, "-o", "s3://fleet/cut", *AT, "--journal", str(tmp_path / "j"))
    command = [str(one) for one in ("fleet", *arguments, "--json", "--jobs", "1")]
    process = subprocess.Popen(
        [BIN, *command],
        env=environment(s3.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,  # what a buffer holds behind the line `communicate` would not return
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"the same command goes on" in err
    kept = done_in(tmp_path / "j")
    # A record is kept before it is printed, and the interrupt may come in between.
    assert len(out.splitlines()) + 1 <= kept
    rest = fleet(s3, *arguments, "--json").objects
    assert 0 < len(rest) < COUNT
    assert len(rest) + kept == COUNT
    whole = run("fleet", "migrate", dumps, "-o", tmp_path / "out", *AT, "--quiet")
    assert whole.code in (1, 3)
    assert s3.get("cut") == outputs(tmp_path / "out")
    with sqlite3.connect(tmp_path / "j") as database:
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in "\n".join(database.iterdump())
    database.close()


def test_a_store_that_cannot_be_opened(s3: Store, tmp_path: Path) -> None:
    without = dict(s3.environment) | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = run("fleet", "audit", URL, *AT, env=without, cwd=tmp_path)
    assert done.code == 4
    assert done.err.count("\n") == 1
    assert f"{URL}: cannot be read: " in done.err
    nobody = dict(s3.environment) | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = run("fleet", "audit", URL, *AT, env=nobody, cwd=tmp_path)
    assert done.code == 4
    assert done.err.count("\n") == 1
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.err


def test_no_such_object(s3: Store) -> None:
    for name in ("s3://fleet/none", "s3://fleet/none*", "s3://nobody/none"):
        done = fleet(s3, "audit", name, *AT)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert f"{name}: no " in done.err


def test_file_urls_are_paths(dumps: Path, tmp_path: Path) -> None:
    source, output = (dumps / "0").as_uri(), (tmp_path / "out").as_uri()
    done = run("fleet", "migrate", source, "-o", output, *AT, "--json")
    assert {Path(one["source"]).parent for one in done.objects} == {dumps / "0"}
    assert list((tmp_path / "out").glob("m*.bin"))


def test_redacted_records_name_no_bucket(s3: Store) -> None:
    done = fleet(s3, "audit", f"{URL}/0", f"{URL}/none*", f"{URL}/0/m00000.bin", *AT, "--redact")
    assert done.code == 2
    done = fleet(s3, "audit", f"{URL}/0", *AT, "--redact", "--json")
    assert done.objects
    assert "fleet" not in done.out
    assert "m00000" not in done.out


def test_without_the_extra(tmp_path: Path) -> None:
    hidden = tmp_path / "fsspec"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('hidden')")
    done = run("fleet", "audit", "s3://fleet/x", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 2
    assert done.err == ("espcert: s3://fleet/x: s3:// needs more: pip install 'espcert[remote]'\n")
