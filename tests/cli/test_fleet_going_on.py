"""`espcert fleet` begun again: what a journal must notice besides the images themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import Result, fixture, run
from tests.support import FIXTURES

AT = ("--at", "2026-06-01")
HMAC_KEY = FIXTURES / "inputs" / "hmac_key.bin"


def fleet(folder: Path, verb: str, *arguments: str) -> Result:
    return run("fleet", verb, *arguments, *AT, "--json", cwd=folder)


def copied(*paths: Path, image: str = "tlv_ec") -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fixture(image), path)


def erased(path: Path) -> None:
    path.write_bytes(b"\xff" * 4096)


def outputs(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.bin"))


# --- Keys and material ---------------------------------------------------------------------------


@pytest.mark.parametrize("rehash", [[], ["--rehash"]])
def test_a_key_that_was_missing_is_noticed(rehash: list[str], tmp_path: Path) -> None:
    copied(tmp_path / "in" / "m.bin", image="tlv_ds_c3")
    copied(tmp_path / "in" / "other.bin")
    (tmp_path / "keys").mkdir()
    same = ("in", "--hmac-keys", "keys", "--require-proof", "--journal", "j", *rehash)
    assert fleet(tmp_path, "audit", *same).code == 1
    assert fleet(tmp_path, "audit", *same).out == ""
    shutil.copy(HMAC_KEY, tmp_path / "keys" / "m.bin")
    done = fleet(tmp_path, "audit", *same)
    assert (done.object["id"], done.object["proven"], done.code) == ("m", True, 0)
    assert fleet(tmp_path, "audit", *same).out == ""


def test_a_key_of_a_manifest_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    copied(tmp_path / "m.bin", image="tlv_ds_c3")
    (tmp_path / "fleet.csv").write_text("image,hmac_key\nm.bin,key.bin\n")
    (tmp_path / "key.bin").write_bytes(b"\1" * 32)
    same = ("fleet.csv", "--journal", "j")
    assert fleet(tmp_path, "audit", *same).code == 1
    shutil.copy(HMAC_KEY, tmp_path / "key.bin")
    assert fleet(tmp_path, "audit", *same).object["proven"] is True
    assert fleet(tmp_path, "audit", *same).out == ""


def test_what_a_manifest_says_of_an_image_is_noticed(tmp_path: Path) -> None:
    copied(tmp_path / "m.bin")
    manifest = tmp_path / "fleet.csv"
    same = ("fleet.csv", "--journal", "j")
    for name in ("one", "two"):
        manifest.write_text(f"image,id\nm.bin,{name}\n")
        assert fleet(tmp_path, "audit", *same).object["id"] == name


@pytest.mark.parametrize("form", ["csv", "pem"])
def test_material_that_was_replaced_is_noticed(form: str, tmp_path: Path) -> None:
    source = f"items.{form}"
    made = run("convert", fixture("tlv_ec"), "--to", form, "-o", source, cwd=tmp_path)
    assert made.code == 0, made.err
    (tmp_path / "items.pem" / "items.json").unlink(missing_ok=True)
    (tmp_path / "fleet.csv").write_text(f"image\n{source}\n")
    same = ("fleet.csv", "-o", "out", "--journal", "j")
    assert fleet(tmp_path, "migrate", *same).object["status"] == "done"
    assert fleet(tmp_path, "migrate", *same).out == ""
    (key,) = tmp_path.rglob("private_key*.pem")
    shutil.copy(FIXTURES / "inputs" / "ec_chain.key", key)
    done = fleet(tmp_path, "migrate", *same)
    assert "key-mismatch" in {one["code"] for one in done.object["findings"]}
    assert not any((tmp_path / "out").iterdir())


# --- Outputs -------------------------------------------------------------------------------------


def test_all_outputs_in_the_way_are_no_use_by_others(tmp_path: Path) -> None:
    names = [f"{number}.bin" for number in range(9)]
    copied(
        *(tmp_path / "in" / name for name in names), *(tmp_path / "out" / name for name in names)
    )
    done = fleet(tmp_path, "migrate", "in", "-o", "out")
    assert done.code == 2
    assert "exists; --force replaces it; and perhaps more" in done.err


def test_keys_whose_names_are_no_unicode(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    copied(tmp_path / odd / "m.bin", image="tlv_ds_c3")
    shutil.copy(HMAC_KEY, tmp_path / odd / "key.bin")
    (tmp_path / odd / "fleet.csv").write_text("image,hmac_key\nm.bin,key.bin\n")
    done = fleet(tmp_path, "migrate", f"{odd}/fleet.csv", "-o", "out")
    assert (done.code, done.object["proven"]) == (0, True)


def test_a_passing_failure_forgets_no_output(tmp_path: Path) -> None:
    image = tmp_path / "m.bin"
    copied(image, tmp_path / "other.bin", image="tlv_ec")
    (tmp_path / "list").write_text("m.bin\nother.bin\n")
    same = ("@list", "-o", "out")
    fleet(tmp_path, "migrate", *same)
    image.unlink()
    assert fleet(tmp_path, "migrate", *same).object["error"]["code"] == "not-found"
    copied(image, image="nvs_ec")
    assert fleet(tmp_path, "migrate", *same).object["status"] == "done"
    image.unlink()
    fleet(tmp_path, "migrate", *same)
    erased(image)
    assert fleet(tmp_path, "migrate", *same).object["error"]["code"] == "erased"
    assert outputs(tmp_path / "out") == ["other.bin"]


def test_outputs_that_would_move_end_the_run_before_it_begins(tmp_path: Path) -> None:
    copied(tmp_path / "a" / "x.bin", tmp_path / "b" / "z.bin")
    (tmp_path / "list").write_text("a/x.bin\n")
    same = ("@list", "-o", "out")
    fleet(tmp_path, "migrate", *same)
    (tmp_path / "list").write_text("a/x.bin\nb/z.bin\n")
    done = fleet(tmp_path, "migrate", *same)
    assert done.code == 2
    assert "a/x.bin was written to out/x.bin and would now be out/a/x.bin" in done.err
    assert outputs(tmp_path / "out") == ["x.bin"]


def test_outputs_of_a_manifest_that_were_swapped(tmp_path: Path) -> None:
    copied(tmp_path / "a.bin", tmp_path / "b.bin")
    manifest = tmp_path / "fleet.csv"
    manifest.write_text("image,output\na.bin,1.bin\nb.bin,2.bin\n")
    fleet(tmp_path, "migrate", "fleet.csv", "-o", "out")
    manifest.write_text("image,output\na.bin,2.bin\nb.bin,1.bin\n")
    done = fleet(tmp_path, "migrate", "fleet.csv", "-o", "out")
    assert done.code == 2
    assert "a.bin was written to out/1.bin and would now be out/2.bin" in done.err


@pytest.mark.parametrize("option", [["-o", "out"], ["-o", "{}/out", "--hmac-keys", "keys"]])
def test_relative_paths_mean_what_they_meant(option: list[str], tmp_path: Path) -> None:
    given = [one.format(tmp_path) for one in option]
    copied(tmp_path / "in" / "m.bin")
    for name in ("here", "there"):
        (tmp_path / name / "keys").mkdir(parents=True)
    same: list[Any] = [str(tmp_path / "in"), *given, "--journal", str(tmp_path / "j")]
    assert fleet(tmp_path / "here", "migrate", *same).code == 0
    done = fleet(tmp_path / "there", "migrate", *same)
    assert done.code == 2
    assert "directory was" in done.err
    assert not (tmp_path / "there" / "out").exists()


# --- What a run that was cut short has written ----------------------------------------------------


def cut_short(folder: Path, *arguments: str) -> None:
    """A run that was killed after its outputs were written and before the journal heard of it."""
    code = (
        "import os, sys; from espcert.fleet.journal import Journal; "
        "Journal.write = lambda *_: os._exit(9); sys.argv[0] = 'espcert'; "
        "from espcert.cli import run; run()"
    )
    command = [sys.executable, "-c", code, "fleet", "migrate", *arguments, *AT, "--jobs", "1"]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 9


def test_outputs_that_the_journal_did_not_hear_of_are_its_own(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    names = ["erased.bin", "gone.bin", "other.bin", "same.bin"]
    copied(*(source / name for name in names))
    cut_short(tmp_path, "in", "-o", "out")
    assert sorted(path.name for path in out.glob("*.bin")) == names
    erased(source / "erased.bin")
    copied(source / "other.bin", image="nvs_ec")
    (source / "gone.bin").unlink()
    done = fleet(tmp_path, "migrate", "in", "-o", "out")
    found = {one["id"]: (one["status"], one["layout"]) for one in done.objects}
    assert found == {"erased": ("failed", None), "other": ("done", "nvs"), "same": ("done", "tlv")}
    assert sorted(path.name for path in out.glob("*.bin")) == names[1:]


def test_what_others_wrote_meanwhile_is_theirs(tmp_path: Path) -> None:
    copied(tmp_path / "in" / "a.bin", tmp_path / "in" / "b.bin")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.bin").write_bytes(b"theirs")
    cut_short(tmp_path, "in", "-o", "out", "--force")
    (tmp_path / "out" / "a.bin").write_bytes(b"theirs")
    erased(tmp_path / "in" / "a.bin")
    fleet(tmp_path, "migrate", "in", "-o", "out")
    assert (tmp_path / "out" / "a.bin").read_bytes() == b"theirs"
