"""`espcert fleet --scheduler tls://…`: a Dask cluster that lets in whom its authority knows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests import fleet_maker, fleet_services
from tests.cli.runner import run
from tests.cli.test_fleet import AT
from tests.cli.test_fleet_cluster import by_source, on
from tests.cli.test_fleet_killed import outputs
from tests.cli.test_fleet_remote import local
from tests.fleet_services import HOST, Cluster

pytest.importorskip("distributed")

COUNT = 24
SETTING = "DASK_DISTRIBUTED__COMM__TLS__"
Key = ec.EllipticCurvePrivateKey


class Authority(NamedTuple):
    """A certificate authority and what it has issued, as Dask's settings name it."""

    folder: Path
    environment: dict[str, str]


def certificate(name: str, key: Key, issuer: str, issuer_key: Key, *, ca: bool) -> bytes:
    """A certificate as PEM, for a host of the loopback interface or an authority."""
    now = datetime.now(timezone.utc)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(host, critical=False)
    )
    issued = builder.sign(issuer_key, hashes.SHA256())
    return issued.public_bytes(serialization.Encoding.PEM)


def authority(folder: Path, name: str) -> Authority:
    """Make an authority, and a certificate of it that all roles use."""
    folder.mkdir()
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "ca.pem").write_bytes(certificate(name, root, name, root, ca=True))
    (folder / "cert.pem").write_bytes(certificate("node", key, name, root, ca=False))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    settings = {f"{SETTING}CA_FILE": str(folder / "ca.pem")}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings[f"{SETTING}{role}__CERT"] = str(folder / "cert.pem")
        settings[f"{SETTING}{role}__KEY"] = str(folder / "key.pem")
    return Authority(folder, settings)


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT, seed=7)
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "ours", "ours")


@pytest.fixture(scope="module")
def sealed(ours: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler that speaks TLS alone, with its workers."""
    folder = tmp_path_factory.mktemp("dask")
    with fleet_services.cluster(folder, protocol="tls", **ours.environment) as found:
        assert found.address.startswith("tls://")
        yield found


def test_the_records_are_those_of_a_local_run(
    dumps: Path, ours: Authority, sealed: Cluster, tmp_path: Path
) -> None:
    there = on(sealed, "audit", dumps, *AT, "--json", env=ours.environment)
    here = run("fleet", "audit", dumps, *AT, "--json")
    assert (there.code, there.err) == (here.code, here.err)
    assert by_source(there) == by_source(here)
    assert len(there.objects) == COUNT
    arguments = (dumps, *AT, "--json", "-o")
    there = on(sealed, "migrate", *arguments, tmp_path / "a", env=ours.environment)
    here = run("fleet", "migrate", *arguments, tmp_path / "b")
    assert there.code == here.code
    assert local(there.objects, (str(tmp_path / "a"), tmp_path / "b")) == local(here.objects)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b") != {}


def test_another_authority_is_not_let_in(dumps: Path, sealed: Cluster, tmp_path: Path) -> None:
    """Neither side trusts the other; one line, and nothing is done."""
    theirs = authority(tmp_path / "theirs", "theirs")
    arguments = (dumps, *AT, "-o", tmp_path / "out")
    done = on(sealed, "migrate", *arguments, env=theirs.environment)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"espcert: --scheduler {sealed.address}: ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_encryption_nobody_answers(dumps: Path, sealed: Cluster) -> None:
    address = sealed.address.replace("tls://", "tcp://")
    done = run("fleet", "audit", dumps, "--scheduler", address)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"espcert: --scheduler {address}: ")
    assert done.err.count("\n") == 1
