"""The command's interface: verbs, help, version, completion, wrong usage."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
from tests.cli.runner import fixture, run

import espcert
import espcert.cli
from espcert.cli.app import GROUPS, VERBS

HELPERS = {
    "app",
    "build_options",
    "build_report",
    "common",
    "fleet_options",
    "fleet_progress",
    "fleet_run",
    "fleet_summary",
    "migration_report",
    "outputs",
    "opening_options",
    "partition_map",
    "proof",
    "refusals",
    "tables",
    "verify_report",
    "words",
}
"""Modules of the command line that are no verb."""

KEYS = (
    *("--flash-encryption-key", "--flash-encryption", "--flash-crypt-conf", "--flash-address"),
    *("--nvs-keys", "--nvs-hmac-key"),
)
READING = ("--label", "--partition-table-offset", "--files-root", *KEYS)
SHARED_OPTIONS = ("--chip", "--json", "--quiet", "--help")
NO_IMAGE = ("build",)
"""Verbs that read no image."""
PROOFS = ("--hmac-key", "--efuse", "--ca", "--at", "--key-password-file")
WRITING = ("--output", "-o", "--size", "--accept", "--dry-run", "--force")
OWN_OPTIONS = {
    "build": (
        *("--output", "-o", "--device-cert", "--ca-cert", "--private-key", "--key-password-file"),
        *("--ds-hmac-key", "--new-hmac-key", "--ecdsa-peripheral", "--hmac-derived", "--hmac-key"),
        *("--salt", "--efuse-key-id", "--user-data", "--public-key-out", "--size"),
        *("--no-integrity", "--ca", "--at", "--dry-run", "--force"),
    ),
    "convert": (*WRITING, "--to", "--no-integrity", "--espcert-csv", "--encrypt-output"),
    "detect": (),
    "diff": (),
    "inspect": ("--map", "--show-secrets", "--extract", "--force"),
    "migrate": (
        *(*WRITING, "--device-cert", "--ca-cert", "--no-integrity"),
        *("--partition-only", "--table-out", *PROOFS),
        *("--encrypted", "--no-encrypted", "--plan-out", "--encrypt-output"),
    ),
    "partitions": (),
    "sign": (
        *("--output", "-o", "--key", "--key-password-file", "--signature", "--public-key"),
        *("--digest-out", "--scheme", "--size", "--accept", "--no-integrity", "--partition-only"),
        *("--dry-run", "--force", "--encrypt-output"),
    ),
    "verify": (
        *PROOFS,
        "--firmware",
        "--signing-key",
        "--strict",
        "--require-proof",
        "--list-findings",
    ),
}

each_verb = pytest.mark.parametrize("verb", VERBS)


def test_no_verb_is_missing_from_the_list() -> None:
    modules = {module.name for module in pkgutil.iter_modules(espcert.cli.__path__)}
    verbs = {name for name in modules - HELPERS if hasattr(_module(name), "command")}
    groups = {name for name in modules - HELPERS if hasattr(_module(name), "group")}
    assert (verbs, groups) == (set(VERBS), set(GROUPS))
    assert modules - HELPERS == verbs | groups, "a module of the command line that is neither"
    listed = run("--help").out
    for verb in (*VERBS, *GROUPS):
        assert re.search(rf"^\W*{verb}\s+\w", listed, re.MULTILINE), verb


def _module(name: str) -> object:
    return importlib.import_module(f"espcert.cli.{name}")


@each_verb
def test_every_verb_has_help_and_its_options(verb: str) -> None:
    shown = run(verb, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"espcert {verb} [OPTIONS]" in shown.out
    reading = () if verb in NO_IMAGE else READING
    for option in (*SHARED_OPTIONS, *reading, *OWN_OPTIONS[verb]):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown.out), option


@each_verb
def test_short_help_equals_long_help(verb: str) -> None:
    assert run(verb, "-h") == run(verb, "--help")


FLEET_OPTIONS = {
    "audit": ("--firmware", "--signing-key", "--strict", "--require-proof"),
    "migrate": ("--size", "--accept", "--no-integrity", "--partition-only", "--encrypted", "-o"),
}
FLEET_SHARED = (
    *("--hmac-keys", "--ca", "--at", "--key-password-file", "--expires-within", "--label"),
    *("--partition-table-offset", "--chip", "--max-size", "--shard", "--jobs", "--journal"),
    *("--rehash", "--report", "--redact", "--force", "--json", "--quiet", "--help"),
)


@pytest.mark.parametrize("verb", ["audit", "migrate", "report", "merge"])
def test_every_verb_of_a_fleet_has_help_and_its_options(verb: str) -> None:
    shown = run("fleet", verb, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown == run("fleet", verb, "-h")
    shared = FLEET_SHARED if verb in FLEET_OPTIONS else ("-o", "--output")
    for option in (*shared, *FLEET_OPTIONS.get(verb, ())):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown.out), option


def test_short_help_of_the_command_equals_long_help() -> None:
    assert run("-h") == run("--help")


def test_version() -> None:
    shown = run("--version")
    assert (shown.code, shown.out, shown.err) == (0, f"espcert {espcert.__version__}\n", "")


def test_without_a_verb_there_is_help() -> None:
    shown = run()
    assert shown.code == 2
    assert "detect" in shown.text


def test_completion_lists_the_verbs() -> None:
    words = {"COMP_WORDS": "espcert ", "COMP_CWORD": "1"}
    shown = run(env={"_ESPCERT_COMPLETE": "complete_bash", **words})
    assert set(VERBS) <= set(shown.out.split())


WRONG = {
    "unknown verb": ("bogus",),
    "unknown option": ("detect", "--bogus", fixture("tlv_ec")),
    "no image": ("detect",),
    "no image to inspect": ("inspect",),
    "unknown chip": ("detect", "--chip", "esp33", fixture("tlv_ec")),
    "offset is no number": ("detect", "--partition-table-offset", "x", fixture("tlv_ec")),
    "negative offset": ("detect", "--partition-table-offset=-1", fixture("tlv_ec")),
    "octal offset": ("detect", "--partition-table-offset", "0o100000", fixture("tlv_ec")),
    "two images to migrate": ("migrate", fixture("tlv_ec"), fixture("tlv_rsa"), "--dry-run"),
    "map as json": ("inspect", "--map", "--json", fixture("tlv_ec")),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage(case: str) -> None:
    result = run(*WRONG[case])
    assert result.code == 2
    assert result.out == ""
    assert result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("number", ["32768", "0x8000", "0X8000"])
def test_integers_are_decimal_or_hexadecimal(number: str) -> None:
    result = run("detect", "--json", "--partition-table-offset", number, fixture("tlv_ec"))
    assert result.code == 0
    assert result.object["layout"] == "tlv"
