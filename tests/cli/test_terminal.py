"""What reaches a terminal: no escapes without one, none from inside an image, none at --quiet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.cli.runner import BIN, controls, environment, fixture, run

COMMANDS = {
    "detect": ("detect", fixture("tlv_hostile")),
    "inspect": ("inspect", fixture("tlv_hostile")),
    "map": ("inspect", "--map", fixture("tlv_hostile")),
    "json": ("inspect", "--json", fixture("tlv_hostile")),
    "migrate": ("migrate", "--dry-run", fixture("tlv_hostile")),
    "refused": ("migrate", "--dry-run", fixture("nvs_lost_key")),
    "help": ("--help",),
    "help of a verb": ("migrate", "--help"),
    "wrong usage": ("detect", "--bogus"),
}
each_command = pytest.mark.parametrize("case", COMMANDS)


@each_command
def test_no_escapes_without_a_terminal(case: str) -> None:
    result = run(*COMMANDS[case], env={"TERM": "xterm-256color"})
    assert result.text
    assert controls(result.text) == set()


@pytest.mark.parametrize("case", ["inspect", "help"])
def test_no_escapes_in_a_ci_log(case: str) -> None:
    """A CI system is no terminal, even where a library thinks so."""
    assert controls(run(*COMMANDS[case], env={"GITHUB_ACTIONS": "true"}).text) == set()


def on_a_terminal(*arguments: str, env: dict[str, str]) -> str:
    """What the command prints on a pseudo-terminal."""
    import pty

    pid, descriptor = pty.fork()
    if not pid:
        os.execve(BIN, [str(BIN), *arguments], environment({"TERM": "xterm-256color"} | env))
    printed = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            part = b""
        if not part:
            break
        printed += part
    os.waitpid(pid, 0)
    os.close(descriptor)
    return printed.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has it")
def test_colours_on_a_terminal_and_none_with_no_color() -> None:
    arguments = ("inspect", "--map", fixture("tlv_hostile"))
    assert "\x1b[3" in on_a_terminal(*arguments, env={})
    plain = on_a_terminal(*arguments, env={"NO_COLOR": "1"})
    assert "\x1b[3" not in plain
    assert "\x1b[9" not in plain


def test_hostile_subject_is_shown_without_control_bytes() -> None:
    shown = run("inspect", fixture("tlv_hostile"))
    assert "\\x1b" in shown.out.replace("\n", "")
    found = run("inspect", "--json", fixture("tlv_hostile")).object
    (subject,) = [i["subject"] for i in found["items"] if i["kind"] == "device_cert"]
    assert "\\x1b" in subject
    assert controls(subject) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has it")
def test_hostile_subject_on_a_terminal() -> None:
    """rich may colour, but the subject's own escape must not get through."""
    shown = on_a_terminal("inspect", fixture("tlv_hostile"), env={"NO_COLOR": "1"})
    for sequence in ("\x1b[2J", "\x1b]", "\x1b[31m", "\x07"):
        assert sequence not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("detect", fixture("tlv_ec")),
        ("inspect", fixture("tlv_ec")),
        ("inspect", "--map", fixture("tlv_ec")),
        ("migrate", "--dry-run", fixture("nvs_legacy_chain")),
    ],
    ids=lambda arguments: " ".join(arguments[:-1]),
)
def test_quiet(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--quiet")
    assert (result.code, result.text) == (0, "")


def test_quiet_keeps_json_and_refusals() -> None:
    assert run("detect", "--quiet", "--json", fixture("tlv_ec")).object["layout"] == "tlv"
    refused = run("migrate", "--quiet", "--dry-run", fixture("nvs_lost_key"))
    assert refused.code == 1
    assert refused.out == ""
    assert "item-crc" in refused.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", fixture("nvs_legacy_chain")),
        ("inspect", "--map", fixture("tlv_ec")),
        ("migrate", "--dry-run", fixture("nvs_legacy_chain")),
    ],
    ids=["inspect", "map", "migrate"],
)
def test_every_encoding_of_the_output_works(arguments: tuple[str, ...], encoding: str) -> None:
    """A redirected Windows console is cp1252, an old locale ASCII."""
    import subprocess

    done = subprocess.run(
        [str(BIN), *arguments],
        capture_output=True,
        env=environment({"PYTHONIOENCODING": encoding}),
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_names_in_messages_are_printable(tmp_path: Path) -> None:
    result = run("detect", "\x1b[2Jnone", cwd=tmp_path)
    assert result.code == 2
    assert controls(result.err) == set()
