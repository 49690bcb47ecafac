"""Services on the loopback interface that fleets work with: a Dask cluster, an S3 server."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.cli.runner import environment

HOST = "127.0.0.1"
PATIENCE = 60
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "hunter2secret"}


@dataclass
class Cluster:
    """A scheduler and its workers, each a process of its own."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


def dask(*arguments: str, log: Path, **changes: str) -> subprocess.Popen[bytes]:
    """The command `dask`, in the background; what it says goes to a file."""
    code = "import sys; from dask.__main__ import main; sys.argv[0] = 'dask'; main()"
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=log.parent,
            env=environment(changes),
        )


def worker(folder: Path, number: int, threads: int = 1, **changes: str) -> subprocess.Popen[bytes]:
    """A worker of the scheduler whose file is in a folder."""
    options = ["--scheduler-file", str(folder / "scheduler.json"), "--host", HOST, "--no-nanny"]
    options += ["--no-dashboard", "--nthreads", str(threads), "--name", f"w{number}"]
    options += ["--local-directory", str(folder), "--death-timeout", "60"]
    return dask("worker", *options, log=folder / f"worker{number}.log", **changes)


@contextlib.contextmanager
def cluster(folder: Path, *, protocol: str = "tcp", **changes: str) -> Iterator[Cluster]:
    """A scheduler and two workers, the second with two threads; all ended at the end."""
    processes = []
    try:
        options = ["--host", HOST, "--port", "0", "--no-dashboard", "--scheduler-file"]
        options += [str(folder / "scheduler.json"), "--protocol", protocol]
        log = folder / "scheduler.log"
        processes.append(dask("scheduler", *options, log=log, **changes))
        processes += [worker(folder, number, number, **changes) for number in (1, 2)]
        address = address_in(folder / "scheduler.json", processes[0])
        yield Cluster(address, processes[0], processes[1:])
    finally:
        end(*reversed(processes))


def address_in(path: Path, scheduler: subprocess.Popen[bytes]) -> str:
    """Where a scheduler listens, once it does."""
    deadline = time.monotonic() + PATIENCE
    while scheduler.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(path.read_text())["address"])
        time.sleep(0.05)
    raise AssertionError(path.with_suffix(".log").read_text())


def end(*processes: subprocess.Popen[bytes]) -> None:
    """End processes and wait until they have."""
    for process in processes:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Store:
    """An S3 server: the environment in which it is found, and a client for it."""

    environment: dict[str, str]
    client: Any
    bucket: str = "fleet"

    def put(self, folder: Path, prefix: str) -> None:
        """Store all files below a folder below a prefix."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.bucket, Key=name, Body=path.read_bytes())

    def get(self, prefix: str) -> dict[str, bytes]:
        """All objects below a prefix, by their names below it."""
        pages = self.client.get_paginator("list_objects_v2")
        found = {}
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"{prefix}/"):
            for entry in page.get("Contents", ()):
                body = self.client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"]
                found[entry["Key"].removeprefix(f"{prefix}/")] = body.read()
                body.close()
        return found


@contextlib.contextmanager
def store(folder: Path) -> Iterator[Store]:
    """An S3 server with one empty bucket, which knows no other host."""
    import botocore.session
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        # What an earlier server of this process was given is still there.
        urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=PATIENCE).close()
        (folder / "aws").write_text("")
        changes = {
            **KEYS,
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(folder / "aws"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket="fleet")
        yield Store(changes, client)
        client.close()
    finally:
        server.stop()


@contextlib.contextmanager
def in_environment(changes: dict[str, str]) -> Iterator[None]:
    """This process's environment, changed for a while."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
