"""`espcert fleet --scheduler`: a Dask scheduler and its workers on loopback."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from tests import fleet_maker, fleet_services
from tests.cli.runner import BIN, Result, environment, fixture, material, run
from tests.cli.test_fleet import AT, strip
from tests.cli.test_fleet_killed import gone, outputs, wait_until
from tests.cli.test_fleet_remote import local
from tests.fleet_services import Cluster, Store

from espcert.errors import FileError, UsageError
from espcert.fleet import cluster, work
from espcert.fleet.task import AUDIT, MIGRATE, Source, Task
from espcert.fleet.workers import Batch, Finished

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

COUNT = 80
IN_STORE = 24


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT, seed=7)
    return folder


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fleet_services.store(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def workers(s3: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that many tests share, in which the store is known."""
    with fleet_services.cluster(tmp_path_factory.mktemp("dask"), **s3.environment) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster for a test that does it harm."""
    folder = tmp_path / "dask"
    folder.mkdir()
    with fleet_services.cluster(folder) as found:
        yield found


def on(there: Cluster, verb: str, *arguments: str | Path, **options: Any) -> Result:
    return run("fleet", verb, *arguments, "--scheduler", there.address, **options)


def by_source(result: Result) -> list[dict[str, Any]]:
    return sorted(map(strip, result.objects), key=lambda record: record["source"])


def started(there: Cluster, *arguments: str | Path, **changes: str) -> subprocess.Popen[bytes]:
    """A run in the background, in a process group of its own."""
    return subprocess.Popen(
        [str(BIN), "fleet", *map(str, arguments), "--scheduler", there.address, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(changes),
        start_new_session=True,
    )


# --- The same records ----------------------------------------------------------------------------


def test_an_audit_on_a_shared_directory(dumps: Path, workers: Cluster, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for image in dumps.rglob("*7.bin"):
        key = tmp_path / "keys" / image.name
        key.write_bytes(Path(material("hmac_key.bin")).read_bytes())
    means = ("--hmac-keys", tmp_path / "keys", "--ca", material("ec_ca.pem"))
    arguments = (dumps, *AT, "--json", *means)
    there = on(workers, "audit", *arguments)
    here = run("fleet", "audit", *arguments)
    assert there.err == here.err
    assert there.code == here.code
    assert by_source(there) == by_source(here)
    assert len(there.objects) == COUNT


def test_a_migration_on_a_shared_directory(dumps: Path, workers: Cluster, tmp_path: Path) -> None:
    there = on(workers, "migrate", dumps, "-o", tmp_path / "a", *AT, "--json")
    here = run("fleet", "migrate", dumps, "-o", tmp_path / "b", *AT, "--json")
    assert (there.code, there.err) == (here.code, "")
    pair = (str(tmp_path / "a"), tmp_path / "b")
    assert local(there.objects, pair) == local(here.objects)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    assert list((tmp_path / "a").rglob("*.tmp")) == []
    assert on(workers, "migrate", dumps, "-o", tmp_path / "a", *AT, "--json").out == ""


def test_a_migration_in_a_store(dumps: Path, s3: Store, workers: Cluster, tmp_path: Path) -> None:
    for image in sorted(dumps.rglob("*.bin"))[:IN_STORE]:
        name = f"dumps/{image.relative_to(dumps).as_posix()}"
        s3.client.put_object(Bucket=s3.bucket, Key=name, Body=image.read_bytes())
    arguments = ("s3://fleet/dumps", "-o", "s3://fleet/new", *AT, "--journal", tmp_path / "j")
    there = on(workers, "migrate", *arguments, "--json", env=s3.environment)
    listed = tmp_path / "list"
    listed.write_text("".join(f"{one}\n" for one in sorted(dumps.rglob("*.bin"))[:IN_STORE]))
    here = run("fleet", "migrate", f"@{listed}", "-o", tmp_path / "out", *AT, "--json")
    assert (there.code, there.err) == (here.code, "")
    pairs = (("s3://fleet/dumps", dumps), ("s3://fleet/new", tmp_path / "out"))
    assert local(there.objects, *pairs) == local(here.objects)
    assert s3.get("new") == outputs(tmp_path / "out")
    # Anybody else goes on with it: without a cluster, say.
    again = run("fleet", "migrate", *arguments, "--json", env=s3.environment)
    assert (again.code, again.out) == (there.code, "")


def test_a_cluster_of_this_machine(dumps: Path) -> None:
    relative = os.path.relpath(dumps, dumps.parent)
    arguments = ("fleet", "audit", relative, *AT, "--json")
    there = run(*arguments, "--scheduler", "local", "--jobs", "1", cwd=dumps.parent)
    here = run(*arguments, cwd=dumps.parent)
    assert (there.code, there.err) == (here.code, here.err)
    assert by_source(there) == by_source(here)


# --- Trouble -------------------------------------------------------------------------------------


def test_a_worker_that_is_killed(dumps: Path, own: Cluster, tmp_path: Path) -> None:
    process = started(own, "migrate", dumps, "-o", tmp_path / "a", *AT)
    wait_until(lambda: any((tmp_path / "a").rglob("m*.bin")) or process.poll() is not None)
    own.workers[0].send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    here = run("fleet", "migrate", dumps, "-o", tmp_path / "b", *AT, "--json")
    assert (process.returncode, err) == (here.code, b"")
    there = Result(0, out.decode(), "")
    pair = (str(tmp_path / "a"), tmp_path / "b")
    assert local(there.objects, pair) == local(here.objects)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


def test_ctrl_c_and_a_scheduler_that_goes(dumps: Path, own: Cluster, tmp_path: Path) -> None:
    journal = ("--journal", tmp_path / "j")
    process = started(own, "audit", dumps, *AT, *journal)
    assert process.stdout is not None
    assert process.stdout.readline()
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, time.monotonic() - begin < 8) == (130, True)
    assert b"the same command goes on" in err
    assert b"Traceback" not in err
    process = started(own, "audit", dumps, *AT, *journal)
    assert process.stdout is not None
    assert process.stdout.readline()
    for worker in own.workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        own.scheduler.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    finally:
        for worker in own.workers:
            worker.send_signal(signal.SIGCONT)
    assert process.returncode == 4
    assert err.decode() == (
        "espcert: the connection to the scheduler was lost; what is done is in the journal\n"
    )
    rest = run("fleet", "audit", dumps, *AT, *journal, "--json")
    assert 0 < len(rest.objects) < COUNT


def test_other_versions(dumps: Path, own: Cluster, tmp_path: Path) -> None:
    """A worker with another version is named, and nothing is done."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\nversion = metadata.version\n"
        "metadata.version = lambda name: '0.0.1' if name == 'espcert' else version(name)\n"
    )
    late = fleet_services.worker(tmp_path / "dask", 3, PYTHONPATH=str(other))
    try:
        log = tmp_path / "dask" / "worker3.log"
        wait_until(lambda: "Registered to" in log.read_text())
        done = on(own, "migrate", dumps, "-o", tmp_path / "out", *AT)
    finally:
        fleet_services.end(late)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "has espcert 0.0.1, here it is " in done.err
    assert not (tmp_path / "out").exists()


WRONG = {
    "udp://127.0.0.1:1": "expected tcp://HOST:PORT",
    "127.0.0.1:8786": "expected tcp://HOST:PORT",
    "tcp://127.0.0.1": "expected tcp://HOST:PORT",
    "tcp://user:word@127.0.0.1:1": "expected tcp://HOST:PORT",
    "tcp://127.0.0.1:8786/x:1": "expected tcp://HOST:PORT",
    "tcp://127.0.0.1:99999": "expected tcp://HOST:PORT",
    "tls://127.0.0.1:8786": "expected certificates in Dask's settings",
}


@pytest.mark.parametrize("address", WRONG)
def test_addresses_that_are_none(address: str, dumps: Path) -> None:
    done = run("fleet", "audit", dumps, "--scheduler", address)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert WRONG[address] in done.err


def test_nobody_there(dumps: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = "tcp://{}:{}".format(*closed.getsockname())
        done = run("fleet", "migrate", dumps, "-o", tmp_path / "out", "--scheduler", address)
    assert done.code == 4
    assert done.err == f"espcert: --scheduler {address}: nothing answers there\n"
    assert not (tmp_path / "out").exists()


def test_relative_paths_and_jobs(dumps: Path, workers: Cluster) -> None:
    done = on(workers, "audit", dumps.name, cwd=dumps.parent)
    assert done.code == 2
    assert "dumps/" in done.err
    assert "is relative, but a cluster's workers have other directories" in done.err
    done = on(workers, "audit", dumps, "--ca", "ca.pem", cwd=dumps.parent)
    assert "ca.pem: is relative" in done.err
    done = on(workers, "audit", dumps, "--jobs", "2")
    assert "--jobs 2: the cluster has the workers that it has" in done.err


def test_without_the_extra(tmp_path: Path, dumps: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('hidden')")
    env = {"PYTHONPATH": str(tmp_path)}
    done = run("fleet", "audit", dumps, "--scheduler", "local", env=env)
    assert done.code == 2
    assert done.err == "espcert: --scheduler needs more: pip install 'espcert[dask]'\n"


# --- The pool ------------------------------------------------------------------------------------


def test_key_bytes_are_not_in_the_graph(workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client

    sent: list[bytes] = []
    submit = Client.submit

    def spied(self: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(pickle.dumps((arguments[1:], options)))
        return submit(self, *arguments, **options)

    monkeypatch.setattr(Client, "submit", spied)
    key = material("hmac_key.bin")
    task = Task(AUDIT, datetime(2026, 6, 1, tzinfo=timezone.utc))
    source = Source(fixture("tlv_ds_c3"), "one", hmac_key=key)
    with cluster.Cluster(workers.address, 1) as found:
        pool = found.pool(task)
        assert pool.slots == 6
        pool.submit(Batch((source,)))
        done: list[Finished] = []
        while not done:
            done = pool.finished(1)
        pool.close()
    ((_, records),) = done
    assert records is not None
    assert records[0] is not None
    assert records[0]["proven"] is True
    assert len(sent) == 1
    assert key.encode() in sent[0]
    assert Path(key).read_bytes() not in sent[0]
    assert Path(key).read_bytes().hex().encode() not in sent[0]


def test_a_worker_that_joins_late_with_other_versions(workers: Cluster) -> None:
    with cluster.Cluster(workers.address, 1) as found:
        pool = found.pool(Task(AUDIT, datetime(2026, 6, 1, tzinfo=timezone.utc)))
        pool._versions = pool._versions | {"espcert": "9.9"}
        pool.submit(Batch((Source(fixture("tlv_ec"), "one"),)))
        with pytest.raises(UsageError, match=r"has espcert .*, here it is 9\.9"):
            while True:
                pool.finished(1)


def test_a_batch_may_run_twice_at_a_time(tmp_path: Path) -> None:
    task = Task(MIGRATE, datetime(2026, 6, 1, tzinfo=timezone.utc))
    with ThreadPoolExecutor(2) as threads:
        for number in range(30):
            output = tmp_path / f"{number}" / "x.bin"
            batch = [Source(fixture("tlv_ec"), "one", output=str(output))]
            one, two = threads.map(lambda batch: work.run_batch(batch, task), [batch, batch])
            assert one[0] is not None
            assert two[0] is not None
            assert one[0]["status"] == "done"
            assert strip(one[0]) == strip(two[0])
            assert [path.name for path in output.parent.iterdir()] == ["x.bin"]


def test_an_error_of_a_worker_is_one_line(workers: Cluster, monkeypatch: Any) -> None:
    monkeypatch.setattr(cluster, "run_batch", json.loads)
    with cluster.Cluster(workers.address, 1) as found:
        pool = found.pool(Task(AUDIT, datetime(2026, 6, 1, tzinfo=timezone.utc)))
        pool.submit(Batch(()))
        with pytest.raises(FileError, match=r"cannot run espcert \(TypeError\)"):
            while True:
                pool.finished(1)


def test_nothing_is_left_behind(dumps: Path) -> None:
    """No process and no port of a cluster of this machine outlives its run."""
    process = subprocess.Popen(
        [BIN, "fleet", "audit", dumps, *AT, "--scheduler", "local", "--jobs", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    group = [
        int(one.parent.name)
        for one in Path("/proc").glob("[0-9]*/stat")
        if one.read_text().rpartition(")")[2].split()[2] == str(process.pid)
    ]
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(group) > 1
    wait_until(lambda: all(gone(one) for one in group))
