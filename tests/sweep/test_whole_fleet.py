"""A fleet of 2,000 mixed modules: each record is what the single-image verbs say."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from tests import fleet_maker
from tests.cli.runner import BIN, environment

import espcert
from espcert import migration, verification

AT = datetime(2026, 6, 1, tzinfo=timezone.utc)
COUNT = 2000

pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT)
    return folder


def records(folder: Path, *arguments: str | Path) -> dict[str, dict[str, object]]:
    command = [str(BIN), "fleet", *map(str, arguments), "--at", "2026-06-01", "--json", "--quiet"]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == COUNT
    return {record["source"]: record for record in found}


def test_audit(dumps: Path, tmp_path: Path) -> None:
    failed = 0
    for source, record in records(tmp_path, "audit", dumps).items():
        reading = espcert.detect(espcert.open_image(source))
        if reading.contents is None:
            assert record["error"] == {"code": reading.reason_code, "message": reading.reason}
            failed += 1
            continue
        found = espcert.verify(reading, at=AT)
        expected = verification.to_json(reading, found, verification.verdict(found))
        assert {name: record[name] for name in expected} == expected
    assert failed > COUNT // 200


def test_migrate(dumps: Path, tmp_path: Path) -> None:
    for source, record in records(tmp_path, "migrate", dumps, "-o", "out").items():
        reading = espcert.detect(espcert.open_image(source))
        if reading.contents is None:
            assert record["exit_code"] == 3
            continue
        result = espcert.migrate(reading, migration.Options(at=AT))
        output = Path("out") / Path(source).relative_to(dumps)
        assert (tmp_path / output).exists() == (not result.refused)
        expected = migration.to_json(result, None if result.refused else str(output))
        assert {name: record[name] for name in expected} == expected
        if result.file is not None:
            assert (tmp_path / output).read_bytes() == result.file
