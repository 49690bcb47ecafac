"""`espcert fleet`: sources, outputs, journals, reports, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from tests import fleet_maker
from tests.cli.runner import Result, fixture, material, run
from tests.cli.test_unreadable_images import NOISE, table
from tests.support import FIXTURES
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with
from tests.toolkit.test_nvs_encryption import KEY, encrypted, stored

from espcert.fleet import merging
from espcert.fleet.journal import open_journal

AT = ("--at", "2026-06-01")
AT_LATER = ("--at", "2026-07-01")
JOURNAL = ".espcert-fleet.sqlite"


def fleet(verb: str, *arguments: str | Path, **options: Any) -> Result:
    return run("fleet", verb, *arguments, **options)


def records_of(report: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl report, without what no two runs share."""
    lines = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    return [strip(line) for line in lines if "source" in line]


def strip(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "duration_ms"}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mixed fleet."""
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, 60, seed=5)
    return folder


# --- Records --------------------------------------------------------------------------------------


def test_records_are_what_the_single_verbs_say(dumps: Path, tmp_path: Path) -> None:
    done = fleet("audit", dumps, *AT, "--json", "--report", tmp_path / "r.jsonl")
    paths = sorted(str(path) for path in dumps.rglob("*.bin"))
    found = {record["source"]: record for record in done.objects}
    assert sorted(found) == paths
    single = run("verify", "--json", *AT, *paths)
    for answer in single.objects:
        record = found[answer.pop("file")]
        assert {name: record[name] for name in answer} == answer
    assert done.code == max(record["exit_code"] for record in found.values()) == single.code
    assert records_of(tmp_path / "r.jsonl") == [strip(found[path]) for path in paths]


def test_migrations_are_what_the_single_verb_writes(dumps: Path, tmp_path: Path) -> None:
    done = fleet("migrate", dumps, "-o", tmp_path / "out", *AT, "--json")
    for record in done.objects[::5]:
        source = Path(record["source"])
        output = tmp_path / "out" / source.relative_to(dumps)
        other = tmp_path / "single.bin"
        other.unlink(missing_ok=True)
        single = run("migrate", "--json", *AT, source, "-o", other).object
        assert other.exists() == output.exists()
        assert record["exit_code"] == 0 if output.exists() else record["exit_code"] > 0
        if output.exists():
            assert output.read_bytes() == other.read_bytes()
            assert output.stat().st_mode & 0o777 == 0o600
        same = set(single) - {"file", "output", "flash_command", "error", "output_sha256"}
        assert {name: record[name] for name in same} == {name: single[name] for name in same}
    assert len(done.objects) == 60


# --- Sources --------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with images, and with much that is none."""
    top = tmp_path / "tree"
    for name in ("a.bin", "sub/b.dat", "sub/deep/c", ".hidden.bin", ".git/x.bin"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fixture("tlv_ec"), path)
    (top / "big.bin").write_bytes(bytes(70_000))
    (top / "ca.pem").write_bytes(Path(material("ec_ca.pem")).read_bytes())
    (top / "loop").symlink_to(top)
    (top / "gone").symlink_to(top / "nowhere")
    os.mkfifo(top / "fifo")
    return top


IMAGES = ["a.bin", "sub/b.dat", "sub/deep/c"]


def sources_of(result: Result, top: Path) -> list[str]:
    return sorted(
        os.path.relpath(record["source"], top)
        for record in result.objects
        if record["status"] != "skipped"
    )


def test_a_directory_is_looked_through(tree: Path, tmp_path: Path) -> None:
    arguments = (tree, *AT, "--max-size", "65536", "--report", tmp_path / "r.jsonl")
    done = fleet("audit", *arguments, "--json")
    assert sources_of(done, tree) == IMAGES
    header = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["run"]
    expected = {"hidden": 2, "too-large": 1, "loop": 1, "dangling-link": 1, "not-regular": 1}
    assert header["skipped"] == expected
    skipped = [one for one in done.objects if one["status"] == "skipped"]
    assert [Path(one["source"]).name for one in skipped] == ["ca.pem"]


def test_a_journal_among_the_images_is_no_image(tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    for lines in (1, 0):
        done = fleet("audit", tmp_path, *AT, "--journal", tmp_path / "j", "--json")
        assert (done.code, len(done.objects)) == (0, lines), done.out


def test_the_log_of_a_killed_runs_journal_is_no_image(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "other")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE any (x)")
    database.commit()
    copied(tmp_path / "x.bin")
    shutil.copy(tmp_path / "other-wal", tmp_path / "left-wal")
    database.close()
    done = fleet("audit", tmp_path, *AT, "--json")
    found = {Path(one["source"]).name: one.get("reason_code") for one in done.objects}
    assert found == {"x.bin": None, "other": "journal", "left-wal": "journal"}
    assert done.code == 0


def test_a_file_of_the_name_of_standard_input(tmp_path: Path) -> None:
    copied(tmp_path / "-")
    done = fleet("audit", ".", *AT, "--json", cwd=tmp_path)
    assert (done.code, done.object["source"], done.object["layout"]) == (0, "-", "tlv")


@pytest.mark.usefixtures("tree")
def test_patterns_lists_and_standard_input(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("tree/a.bin\n\ntree/sub\n")
    for arguments, feed in (
        (("tree/a*.bin", "tree/sub/**"), b""),
        ((f"@{listed.name}",), b""),
        (("-",), listed.read_bytes()),
        (("tree/a.bin", "./tree/a.bin", "tree/sub"), b""),
    ):
        more = ("--json", "--max-size", "65536")
        done = fleet("audit", *arguments, *AT, *more, cwd=tmp_path, stdin=feed)
        assert sorted(one["source"] for one in done.objects) == [f"tree/{one}" for one in IMAGES]


@pytest.mark.parametrize("given", ["@list.txt", "-"])
def test_a_list_may_begin_with_a_byte_order_mark(given: str, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        copied(tmp_path / name)
    data = b"\xef\xbb\xbfa.bin\r\nb.bin\r\n"
    (tmp_path / "list.txt").write_bytes(data)
    done = fleet("audit", given, *AT, "--json", cwd=tmp_path, stdin=data)
    assert [one["source"] for one in done.objects] == ["a.bin", "b.bin"]
    assert {one["status"] for one in done.objects} == {"done"}


EC_KEY = Path(material("ec_device.key")).read_bytes()
NO_LISTS = {
    "a key": EC_KEY,
    "a key with a byte order mark": b"\xef\xbb\xbf" + EC_KEY,
    "a key with two such marks": b"\xef\xbb\xbf" * 2 + EC_KEY,
    "the end of a key": EC_KEY.partition(b"\n")[2],
    "a dump": Path(fixture("tlv_ec")).read_bytes(),
    "an HMAC key in hexadecimal": b"5EcE" * 16 + b"\n",
    "an HMAC key without control characters": b"\xdfSeCrEt0" * 4,
    "an HMAC key that is text": b"\x1fSeCrEt0" * 4,
    "a key behind a path": b"a.bin\n" + b"5EcE" * 16,
}


@pytest.mark.parametrize("case", NO_LISTS)
@pytest.mark.parametrize("given", ["@k", "-"])
def test_what_is_no_list_is_not_shown(case: str, given: str, tmp_path: Path) -> None:
    """A key that is taken for a list would have its lines in every record."""
    (tmp_path / "k").write_bytes(NO_LISTS[case])
    feed = NO_LISTS[case] if given == "-" else b""
    done = fleet("audit", given, *AT, "--json", "--journal", "j", cwd=tmp_path, stdin=feed)
    assert (done.code, done.out) == (2, "")
    name = "standard input" if given == "-" else "k"
    text = "is no list of paths, but a dump, a key or a certificate"
    assert re.fullmatch(rf"espcert: {name}: {text} \(line \d+\)\n", done.err)
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_lists_name_files_of_odd_names(tmp_path: Path) -> None:
    names = [b"\xff\xfe.bin", b"a\x01.bin", b"0a" * 32, b"a\tb.bin"]
    for name in names:
        copied(tmp_path / os.fsdecode(name))
    (tmp_path / "list").write_bytes(b"\n".join([*names, b"not\there"]))
    done = fleet("audit", "@list", *AT, "--json", cwd=tmp_path)
    found = {os.fsencode(one["source"]): one["status"] for one in done.objects}
    assert found == dict.fromkeys(names, "done") | {b"not\there": "failed"}


@pytest.mark.parametrize("output", ["sub\0x/a.bin", "\ud800/a.bin"])
def test_an_output_that_is_no_file_name(output: str, tmp_path: Path) -> None:
    shutil.copy(fixture("tlv_ec"), tmp_path / "a.bin")
    (tmp_path / "m.jsonl").write_text(json.dumps({"image": "a.bin", "output": output}))
    done = fleet("migrate", "m.jsonl", "-o", "new", *AT, cwd=tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "m.jsonl, line 1: output" in done.err


def test_an_output_that_is_a_directory_is_found_before_any_work(tmp_path: Path) -> None:
    shutil.copy(fixture("tlv_ec"), tmp_path / "a.bin")
    (tmp_path / "new" / "a.bin").mkdir(parents=True)
    done = fleet("migrate", "a.bin", "-o", "new", "--force", *AT, cwd=tmp_path)
    assert done.code == 2
    assert "nothing was done" in done.err
    assert "is a directory" in done.err


def test_a_pattern_that_holds_the_outputs_can_be_given_again(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    shutil.copy(fixture("tlv_ec"), tmp_path / "d" / "sub" / "a.bin")
    (tmp_path / "d" / "loop").symlink_to(".")
    for pattern in ("d/**/*.bin", "d/**/*.bin", "d/**/*.bin"):
        again = (pattern, "-o", "d/new", *AT, "--report", "r.jsonl", "--force")
        done = fleet("migrate", *again, cwd=tmp_path)
        assert done.code == 0, done.err
        assert "1 images" in done.out
    header = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["run"]
    assert header["skipped"] == {"loop": 1, "output": 1}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_manifest_names_keys_and_outputs(form: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(fixture("tlv_ds_c3"), tmp_path / "in" / "one.bin")
    shutil.copy(material("hmac_key.bin"), tmp_path / "in" / "key")
    row = {"image": "one.bin", "id": "M1", "hmac_key": "key", "output": "new/x.bin"}
    path = tmp_path / "in" / f"fleet.{form}"
    if form == "csv":
        path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    else:
        path.write_text(json.dumps(row) + "\n")
    out = tmp_path / "out"
    done = fleet("migrate", path, "-o", out, *AT, "--json")
    assert done.code == 0, done.err
    record = done.object
    assert (record["id"], record["proven"]) == ("M1", True)
    assert record["output"] == str(out / "new" / "x.bin")
    assert (out / "new" / "x.bin").is_file()


def test_a_manifest_names_the_keys_of_encrypted_images(tmp_path: Path) -> None:
    plain = Path(fixture("nvs_ec"))
    (tmp_path / "x.bin").write_bytes(encrypted(plain.read_bytes()))
    (tmp_path / "keys.bin").write_bytes(stored(KEY))
    (tmp_path / "fleet.csv").write_text("image,nvs_keys,flash_address\nx.bin,keys.bin,0xd000\n")
    found = fleet("audit", "fleet.csv", *AT, "--json", cwd=tmp_path).object
    single = run("verify", "--json", *AT, plain).object
    assert {one["code"] for one in found["findings"]} == {one["code"] for one in single["findings"]}
    assert found["layout"] == "nvs"
    assert KEY.hex() not in str(found)
    assert fleet("audit", "x.bin", *AT, cwd=tmp_path).code == 3


def test_a_manifest_holds_against_paths_in_any_order(tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    (tmp_path / "m.csv").write_text("image,id\nx.bin,module 1\nx.bin,module 1\n")
    for arguments in (("m.csv", "x.bin", "."), (".", "x.bin", "m.csv"), ("x.bin", ".", "m.csv")):
        done = fleet("audit", *arguments, *AT, "--json", cwd=tmp_path)
        found = {one["source"]: one["id"] for one in done.objects if one["status"] == "done"}
        assert found == {"x.bin": "module 1"}


@pytest.mark.parametrize("row", ["x.bin,2,", "x.bin,1,pre_prov"])
def test_two_rows_of_one_image_that_differ(row: str, tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    (tmp_path / "m.csv").write_text(f"image,id,label\nx.bin,1,\n{row}\n")
    done = fleet("audit", "m.csv", *AT, "--journal", "j", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "espcert: x.bin: two rows say different things of it; one run has one record of an image\n"
    )
    assert not (tmp_path / "j").exists()


BAD_MANIFESTS = {
    "image,flash_address\nx.bin,0b1\n": "flash_address '0b1' is no decimal",
    "image,hmac\nx.bin,1\n": "column 'hmac' is none of",
    "image,id\n,1\n": "line 2: no image",
    "image,id\nx.bin\n": "line 2: expected as many fields",
    "image,chip\nx.bin,esp33\n": "chip 'esp33' is none of",
    "image,output\nx.bin,../x\n": "line 2: output '../x': expected a file below -o DIR",
    "image,output\nx.bin,/x\n": "line 2: output '/x': expected a file below -o DIR",
    "id,output\n1,x\n": "line 1: no column `image`; a manifest needs it, separated by commas",
    "image;id\nx.bin;1\n": "line 1: no column `image`",
    "": "line 1: no column `image`",
    "image,image\nx.bin,y.bin\n": "line 1: two columns 'image'",
    f"image,hmac_key\nx.bin,{'1a' * 32}\n": "line 2: hmac_key is a key; expected its file",
    f"image,efuse\nx.bin,0x{'1a' * 16}\n": "line 2: efuse is a key; expected its file",
    "image,nvs_keys\nx.bin,s3://u:p@b/k\n": "line 2: nvs_keys is a URL; keys are files here",
    "image,id\nx.bin,\udce9\n": "is no UTF-8 text",
    "\udce9,image\n1,x.bin\n": "is no UTF-8 text",
}


@pytest.mark.parametrize("mark", ["", "@"])
@pytest.mark.parametrize("text", BAD_MANIFESTS)
def test_a_bad_manifest_is_an_error_before_any_work(text: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_bytes(os.fsencode(text))
    done = fleet("migrate", f"{mark}{path}", "-o", tmp_path / "out")
    assert done.code == 2
    assert BAD_MANIFESTS[text] in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


NO_NAMES = {
    r'{"image": "\ud800.bin"}': "line 1: image is no file name",
    r'{"image": "s3://b/\ud800.bin"}': "line 1: image is no file name",
    r'{"image": "a.bin", "hmac_key": "\ud800"}': "line 1: hmac_key is no file name",
    r'{"image": "a.bin", "efuse": "\ud800"}': "line 1: efuse is no file name",
    r'{"image": "a.bin", "nvs_keys": "x/\ud800"}': "line 1: nvs_keys is no file name",
}
NO_ROWS = {
    '{"image": "a.bin", "hmac_key": "1", "hmac_key": "2"}': "line 1: two columns 'hmac_key'",
    '{"image": "a.bin", "id": {"x": 1, "x": 2}}': "line 1: id is no text",
    "[]": "line 1: is no JSON object",
    "{": "line 1: is no JSON",
}


@pytest.mark.parametrize("text", NO_NAMES | NO_ROWS)
def test_a_bad_manifest_of_json_lines(text: str, tmp_path: Path) -> None:
    copied(tmp_path / "a.bin")
    (tmp_path / "m.jsonl").write_text(text)
    done = fleet("audit", "m.jsonl", *AT, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"espcert: m.jsonl, {(NO_NAMES | NO_ROWS)[text]}\n"


WRONG = {
    "nothing there": (("none/*.bin",), "no such file, and no pattern that fits"),
    "no protocol": (("nowhere://bucket/x",), "fsspec knows no protocol 'nowhere'"),
    "a URL in a URL": (("simplecache::s3://bucket/x",), "chains URLs"),
    "a password": (("ftp://me:hunter2@host/x",), "ftp://...: holds a user, password"),
    "a signature": (("https://host/x?Signature=hunter2",), "https://...: holds"),
    "no file URL": (("file://host/x",), "expected file:///PATH"),
    "a remote output without a journal": (("{tree}", "-o", "memory://out"), "--journal FILE"),
    "shard": (("{tree}", "--shard", "3/2"), "expected I/N"),
    "report": (("{tree}", "--report", "r.txt"), "expected one of"),
    "stdin twice": (("-", "-"), "only once"),
    "no keys": (("{tree}", "--hmac-keys", "none"), "no such directory"),
    "no CA": (("{tree}", "--ca", "none"), "no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage(case: str, tree: Path, tmp_path: Path) -> None:
    arguments, text = WRONG[case]
    listed = [one.replace("{tree}", str(tree)) for one in arguments]
    done = fleet("migrate" if "-o" in listed else "audit", *listed, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "hunter2" not in done.err
    assert len(done.err.splitlines()) == 1


def test_a_named_csv_may_be_an_image(tmp_path: Path) -> None:
    shutil.copy(fixture("tlv_ec"), tmp_path / "dump.csv")
    assert run("convert", fixture("tlv_ec"), "--to", "csv", "-o", tmp_path / "items.csv").code == 0
    for name in ("dump.csv", "items.csv"):
        done = fleet("audit", tmp_path / name, *AT, "--json")
        assert done.object["status"] == "done", done.err


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("empty", "empty: no image was found; nothing is there"),
        ("-", "standard input: no image was found; nothing is there"),
        ("head.csv", "head.csv: no image was found; nothing is there"),
        ("hides", "hides: no image was found; left out: 2 hidden"),
    ],
)
def test_no_image(argument: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "hides").mkdir()
    for name in (".a", ".b"):
        (tmp_path / "hides" / name).touch()
    (tmp_path / "head.csv").write_text("image,id\n")
    done = fleet("audit", argument, cwd=tmp_path)
    assert (done.code, done.out, done.err) == (2, "", f"espcert: {text}\n")


def test_a_file_that_the_system_does_not_let_us_look_at(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("self")
    done = fleet("audit", "self/x.bin", cwd=tmp_path)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("espcert: self/x.bin: cannot be read: ")


def test_shards_are_the_fleet(dumps: Path, tmp_path: Path) -> None:
    journals = []
    for number in (1, 2, 3):
        journals.append(tmp_path / f"{number}.sqlite")
        shard = ("--shard", f"{number}/3", "--journal", journals[-1])
        fleet("audit", dumps, *AT, *shard, "--quiet")
    fleet("audit", dumps, *AT, "--quiet", "--report", tmp_path / "whole.jsonl")
    merged = tmp_path / "merged.sqlite"
    assert fleet("merge", *journals, "-o", merged).code == 0
    fleet("report", merged, "-o", tmp_path / "merged.jsonl")
    whole = records_of(tmp_path / "whole.jsonl")
    assert records_of(tmp_path / "merged.jsonl") == whole
    assert len(whole) == 60
    across = [one for one in (tmp_path / "whole.jsonl").read_text().splitlines() if "across" in one]
    assert across[-1] == (tmp_path / "merged.jsonl").read_text().splitlines()[-1]
    assert fleet("merge", *journals, "-o", merged).code == 2


def test_a_merged_journal_appears_whole_or_not_at_all(
    dumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    fleet("audit", dumps, *AT, "--shard", "1/20", "--journal", one, "--quiet")
    fleet("audit", dumps, *AT, "--shard", "2/20", "--journal", two, "--quiet")
    seen = []

    def watched(facts: Any) -> Any:
        seen.append(sorted(path.name for path in tmp_path.iterdir() if path.name[0] != "."))
        return joined(facts)

    joined = merging._joined
    monkeypatch.setattr(merging, "_joined", watched)
    merging.merge([one, two], tmp_path / "3")
    assert seen == [["1", "2"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]
    assert (tmp_path / "3").stat().st_mode & 0o777 == 0o600
    missing = fleet("merge", one, two, "-o", tmp_path / "none" / "3")
    assert (missing.code, missing.err) == (2, f"espcert: {tmp_path / 'none'}: no such directory\n")


def test_a_merge_says_what_the_whole_lacks(dumps: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "1", tmp_path / "3", tmp_path / "all"]
    for path, shard, at in zip(paths, ("1/4", "3/4", "1/1"), (AT, AT, AT_LATER), strict=True):
        fleet("audit", dumps, *at, "--shard", shard, "--journal", path, "--quiet")
    done = fleet("merge", *paths[:2], "-o", tmp_path / "two")
    assert done.code == 0
    assert "shard 2/4, 4/4 is missing" in done.err
    assert len(done.err.splitlines()) == 1
    unfinish(paths[0])
    done = fleet("merge", paths[0], paths[2], "-o", tmp_path / "three")
    assert "different divisions: 1/1, 1/4" in done.err
    assert "1 images are left" in done.err
    assert "2026-06-01T00:00:00Z, 2026-07-01T00:00:00Z" in done.err
    fleet("report", tmp_path / "three", "-o", tmp_path / "r.jsonl")
    run = json.loads((tmp_path / "r.jsonl").read_text("utf-8").splitlines()[0])["run"]
    assert (run["total"], run["left"]) == (60, 1)
    for twice in (paths[0], tmp_path / "link"):
        if twice != paths[0]:
            twice.symlink_to(paths[0])
        done = fleet("merge", paths[0], twice, "-o", tmp_path / "four")
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert "the same journal" in done.err
    assert not (tmp_path / "four").exists()


def unfinish(journal: Path) -> None:
    """Take the last record out of a journal, as if the run had ended before it."""
    with sqlite3.connect(journal) as database:
        database.execute("DELETE FROM records WHERE id = (SELECT MAX(id) FROM records)")
        database.execute("DELETE FROM facts WHERE name = 'finished'")
    database.close()


def test_reports_of_a_run_that_is_not_finished(dumps: Path, tmp_path: Path) -> None:
    journal = tmp_path / "j"
    fleet("audit", dumps, *AT, "--journal", journal, "--quiet")
    unfinish(journal)
    names = ("r.jsonl", "r.csv", "r.sarif", "r.xml", "r.html")
    reports = [argument for name in names for argument in ("-o", tmp_path / name)]
    done = fleet("report", journal, *reports)
    assert done.code == 0
    assert "59 images are done, 1 are not in the reports" in done.err
    told = {name: (tmp_path / name).read_text("utf-8") for name in names}
    assert json.loads(told["r.jsonl"].splitlines()[0])["run"]["left"] == 1
    assert all("not finished: 1 images" in line for line in told["r.csv"].splitlines()[1:])
    (invocation,) = json.loads(told["r.sarif"])["runs"][0]["invocations"]
    assert invocation == {"executionSuccessful": False}
    (unfinished,) = ElementTree.fromstring(told["r.xml"]).findall(".//error[@type='not-finished']")
    assert unfinished.get("message") == "1 images are left"
    assert "The run was not finished.</strong> 1 module of its sources is" in told["r.html"]
    fleet("audit", dumps, *AT, "--journal", journal, "--quiet")
    done = fleet("report", journal, *reports, "--force")
    assert done.err == ""
    for name in names:
        assert "not finished" not in (tmp_path / name).read_text("utf-8")


def test_journals_that_do_not_fit_are_not_merged(dumps: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    fleet("audit", dumps, *AT, "--shard", "1/20", "--journal", one, "--quiet")
    fleet("audit", dumps, *AT, "--shard", "2/20", "--journal", two, "--quiet", "--strict")
    done = fleet("merge", one, two, "-o", tmp_path / "3")
    assert done.code == 2
    assert "--strict" in done.err
    assert not (tmp_path / "3").exists()


def test_a_merged_journal_is_merged_with_no_shard(dumps: Path, tmp_path: Path) -> None:
    one, two, merged = tmp_path / "1", tmp_path / "2", tmp_path / "merged"
    fleet("audit", dumps, *AT, "--shard", "1/20", "--journal", one, "--quiet")
    fleet("audit", dumps, *AT, "--shard", "2/20", "--journal", two, "--quiet")
    assert fleet("merge", one, "-o", merged).code == 0
    for journals in ((merged, two), (two, merged)):
        done = fleet("merge", *journals, "-o", tmp_path / "3")
        assert done.code == 2
        assert done.err.startswith(f"espcert: {merged}: is a merged journal; merge the journals")
    done = fleet("audit", dumps, *AT, "--journal", merged)
    assert done.code == 2
    assert done.err.startswith(f"espcert: {merged}: is a merged journal, which no run goes on with")


def test_the_advice_for_an_encrypted_image_is_of_the_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(NOISE)
    found = fleet("audit", "x.bin", "--json", cwd=tmp_path).object
    advice = "--flash-encryption-key gives the key, in a fleet the manifest's column"
    assert f"{advice} flash_encryption_key" in found["reason"]
    assert found["reason"] == run("detect", "--json", tmp_path / "x.bin").object["reason"]


# --- Outputs --------------------------------------------------------------------------------------


def copied(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fixture("tlv_ec"), path)


CLASHES = {
    "two directories": ("a/x.bin", "b/x.bin"),
    "case": ("a/x.bin", "b/X.BIN"),
    "a file and a directory": ("a/x", "b/x/y.bin"),
}


@pytest.mark.parametrize("case", CLASHES)
def test_a_clash_ends_the_run_before_it_begins(case: str, tmp_path: Path) -> None:
    copied(*(tmp_path / name for name in CLASHES[case]))
    done = fleet("migrate", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert done.code == 2
    assert "nothing was done" in done.err
    assert not (tmp_path / "out").exists()


def test_an_existing_output_is_a_clash(tmp_path: Path) -> None:
    copied(tmp_path / "a" / "x.bin", tmp_path / "a" / "y.bin")
    out = tmp_path / "out"
    out.mkdir()
    (out / "y.bin").write_bytes(b"mine")
    done = fleet("migrate", tmp_path / "a", "-o", out)
    assert done.code == 2
    assert sorted(path.name for path in out.iterdir()) == ["y.bin"]
    assert (out / "y.bin").read_bytes() == b"mine"
    assert fleet("migrate", tmp_path / "a", "-o", out, "--force").code == 1  # one key in two
    assert (out / "y.bin").read_bytes() == (out / "x.bin").read_bytes()


def test_outputs_are_placed_below_the_longest_common_parent(tmp_path: Path) -> None:
    copied(tmp_path / "in" / "a" / "x.bin", tmp_path / "in" / "b" / "x.bin")
    fleet("migrate", "in/a/x.bin", "in/b/x.bin", "-o", "out", "--quiet", cwd=tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.bin"))
    assert found == ["out/a/x.bin", "out/b/x.bin"]


def test_inputs_are_never_outputs(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    copied(path)
    before = path.read_bytes()
    for arguments in ((tmp_path,), (path,), (path, "--force"), (f"{tmp_path}/*.bin",)):
        done = fleet("migrate", *arguments, "-o", tmp_path)
        assert done.code == 2
        assert "inputs are never changed" in done.err
    linked = tmp_path / "out"
    linked.mkdir()
    os.link(path, linked / "x.bin")
    done = fleet("migrate", path, "-o", linked, "--force")
    assert done.code == 2
    assert path.read_bytes() == before


REPORTS_IN_THE_WAY = {
    "an input": ("audit", "x.csv", "--report", "x.csv"),
    "an input by a link": ("audit", "x.csv", "--report", "linked.csv"),
    "the journal": ("audit", "x.csv", "--journal", "j.csv", "--report", "j.csv"),
    "each other": ("audit", "x.csv", "--report", "r.csv", "--report", "./r.csv"),
    "an output": ("migrate", "x.csv", "-o", "out", "--report", "out/x.csv"),
    "the journal of a report": ("report", "old.csv", "-o", "old.csv"),
}


@pytest.mark.parametrize("case", REPORTS_IN_THE_WAY)
def test_reports_replace_nothing_that_is_needed(case: str, tmp_path: Path) -> None:
    copied(tmp_path / "x.csv")
    os.link(tmp_path / "x.csv", tmp_path / "linked.csv")
    fleet("audit", "x.csv", *AT, "--journal", "old.csv", cwd=tmp_path)
    (tmp_path / "out").mkdir()
    before = contents(tmp_path)
    done = fleet(*REPORTS_IN_THE_WAY[case], "--force", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_output_directory_is_not_looked_through(tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    for lines in (1, 0):
        done = fleet("migrate", tmp_path, "-o", tmp_path / "new", *AT, "--json")
        assert (done.code, len(done.objects)) == (0, lines)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [JOURNAL, "x.bin"]


def test_partition_only(tmp_path: Path) -> None:
    flash = bytearray(b"\xff" * 0x20000)
    flash[0x8000:0x8C00] = table([("pre_prov", 0x3F, 6, 0xD000, 0x6000)])
    flash[0xD000:0x13000] = Path(fixture("cust_flash_legacy_ec")).read_bytes()
    path = tmp_path / "in" / "x.bin"
    path.parent.mkdir()
    path.write_bytes(flash)
    for more, size in (((), 0x20000), (("--partition-only",), 0x6000)):
        out = tmp_path / f"out{size}"
        assert fleet("migrate", tmp_path / "in", "-o", out, *more).code == 0
        assert (out / "x.bin").stat().st_size == size


# --- The journal ----------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_ended(dumps: Path, tmp_path: Path) -> None:
    journal = ("--journal", tmp_path / "j")
    first = fleet("audit", dumps, *AT, *journal, "--json")
    again = fleet("audit", dumps, *AT, *journal, "--json")
    assert (len(first.objects), again.out) == (60, "")
    assert first.code == again.code
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_the_clock_is_the_first_starts(tmp_path: Path) -> None:
    path = image_with(pki.make_leaf(None, "m", until=2026), tmp_path)
    journal = ("--journal", tmp_path / "j")
    assert fleet("audit", path, *journal, "--at", "2025-06-01", "--quiet").code == 0
    os.utime(path, (1, 1))
    done = fleet("audit", path, *journal, "--json")
    assert "certificate-expired" not in done.out
    assert done.object["source"] == str(path)
    done = fleet("audit", path, *journal, "--at", "2025-07-01")
    assert done.code == 2
    assert "--at was 2025-06-01T00:00:00Z and is 2025-07-01T00:00:00Z" in done.err


def test_changed_settings_are_named(dumps: Path, tmp_path: Path) -> None:
    journal = ("--journal", tmp_path / "j")
    fleet("audit", dumps / "1", *AT, *journal, "--quiet")
    for more, text in (
        (("--strict",), "--strict was False and is True"),
        (("--chip", "esp32c3"), "--chip was None and is esp32c3"),
        ((dumps / "2",), "sources was"),
    ):
        done = fleet("audit", dumps / "1", *AT, *journal, *more)
        assert (done.code, done.out) == (2, "")
        assert text in done.err
    done = fleet("migrate", dumps / "1", "-o", tmp_path / "out", *AT, *journal)
    assert done.code == 2
    assert "fleet was audit, and is migrate; name another --journal" in done.err
    assert "--size" not in done.err


def test_changed_inputs_are_done_again(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    copied(source / "x.bin", source / "y.bin")
    run_again = ("migrate", source, "-o", out, *AT, "--json")
    assert len(fleet(*run_again).objects) == 2
    shutil.copy(fixture("nvs_ec"), source / "x.bin")
    done = fleet(*run_again)
    assert [one["layout"] for one in done.objects] == ["nvs"]
    (out / "y.bin").unlink()
    assert [Path(one["source"]).name for one in fleet(*run_again).objects] == ["y.bin"]
    assert (out / "y.bin").exists()
    (out / "x.bin").write_bytes(b"changed by someone")
    shutil.copy(fixture("tlv_rsa"), source / "x.bin")
    assert fleet(*run_again).object["error"]["code"] == "output-exists"
    assert (out / "x.bin").read_bytes() == b"changed by someone"


def test_rehash_sees_what_size_and_time_do_not(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    copied(path)
    same = ("audit", path, *AT, "--journal", tmp_path / "j", "--json")
    fleet(*same)
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fleet(*same).out == ""
    assert len(fleet(*same, "--rehash").objects) == 1
    assert fleet(*same, "--rehash").out == ""
    os.utime(path, (1, 1))
    assert fleet(*same, "--rehash").out == ""
    assert fleet(*same).out == ""


def damaged(path: Path) -> None:
    """Change a byte, but neither size nor time."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_rehash_sees_outputs_that_were_changed(force: list[str], tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    copied(source / "x.bin", source / "y.bin")
    same: list[str | Path] = [source, "-o", out, *AT, "--json", "--rehash", *force]
    fleet("migrate", *same)
    whole = (out / "x.bin").read_bytes()
    for changed in (b"", b"changed by someone"):
        (out / "x.bin").write_bytes(changed)
        record = fleet("migrate", *same).object
        assert Path(record["source"]).name == "x.bin"
        if force:
            assert record["status"] == "done"
            assert (out / "x.bin").read_bytes() == whole
        else:
            assert record["error"]["code"] == "output-exists"
            assert (out / "x.bin").read_bytes() == changed
    damaged(out / "y.bin")
    assert Path(fleet("migrate", *same).objects[-1]["source"]).name == "y.bin"


def test_a_refusal_leaves_no_output_of_older_bytes(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    copied(source / "x.bin", source / "y.bin", source / "z.bin")
    same = ("migrate", source, "-o", out, *AT, "--json")
    fleet(*same)
    damaged(source / "x.bin")
    (source / "y.bin").write_bytes(b"\xff" * 4096)
    damaged(source / "z.bin")
    (out / "z.bin").write_bytes(b"changed by someone")
    done = fleet(*same, "--rehash")
    codes = {Path(one["source"]).name: one["error"]["code"] for one in done.objects}
    assert codes == {"x.bin": "refused", "y.bin": "erased", "z.bin": "refused"}
    assert sorted(path.name for path in out.glob("*.bin")) == ["z.bin"]
    assert (out / "z.bin").read_bytes() == b"changed by someone"


def test_failures_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("x.bin\nerased.bin\n")
    (tmp_path / "erased.bin").write_bytes(b"\xff" * 4096)
    same = ("audit", "@list", *AT, "--journal", "j", "--json")
    assert {one["exit_code"] for one in fleet(*same, cwd=tmp_path).objects} == {2, 3}
    copied(tmp_path / "x.bin")
    assert [one["status"] for one in fleet(*same, cwd=tmp_path).objects] == ["done"]


def test_what_is_no_journal(tmp_path: Path, dumps: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"some notes of mine, which are longer than the header of a file of SQLite is")
    done = fleet("audit", dumps, "--journal", path)
    assert (done.code, done.out) == (2, "")
    assert "no journal" in done.err
    assert fleet("report", path, "-o", tmp_path / "r.jsonl").code == 2
    assert fleet("report", tmp_path / "none", "-o", tmp_path / "r.jsonl").code == 2


@pytest.mark.parametrize("begin", [4096, 8 * 4096])
def test_a_damaged_journal(begin: int, tmp_path: Path, dumps: Path) -> None:
    path = tmp_path / "j"
    fleet("audit", dumps, *AT, "--journal", path, "--quiet")
    data = bytearray(path.read_bytes())
    data[begin:] = b"\x5a" * (len(data) - begin)
    path.write_bytes(bytes(data))
    for arguments in (("audit", dumps, *AT, "--journal", path), ("report", path, "-o", "r.jsonl")):
        done = fleet(*arguments, cwd=tmp_path)
        assert done.code == 4
        assert "the journal cannot be read or written" in done.err
        assert len(done.err.splitlines()) == 1


def test_a_journal_whose_run_was_never_planned(tmp_path: Path, dumps: Path) -> None:
    for name in ("1", "2"):
        open_journal(tmp_path / name).close()
    for end in ("jsonl", "csv", "sarif", "xml", "html"):
        done = fleet("report", tmp_path / "1", "-o", tmp_path / f"r.{end}")
        assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
        assert "no run was planned" in done.err
    done = fleet("merge", tmp_path / "1", tmp_path / "2", "-o", tmp_path / "3")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert fleet("audit", dumps, *AT, "--journal", tmp_path / "1", "--quiet").code == 3


def test_a_journal_that_somebody_has_changed(tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    path = tmp_path / "j"
    fleet("audit", tmp_path / "x.bin", *AT, "--journal", path, "--quiet")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET record = json_set(record, '$.source', '')")
    assert len(records_of(reported(path, tmp_path / "r.jsonl"))) == 1
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET record = '{'")
    done = fleet("report", path, "-o", tmp_path / "other.jsonl")
    assert (done.code, len(done.err.splitlines())) == (4, 1)
    assert "it is damaged" in done.err


NOT_UTF8 = "CAST(x'7bff' AS TEXT)"
BAD_RECORDS = ("'{'", "'[]'", "'{}'", "x'ff'", NOT_UTF8)
BAD_FACTS = {
    "options": ("'{'", "'[]'", "'{}'", NOT_UTF8),
    "at": ("'{'", "5", "'\"soon\"'", "'\"2026-06-01\"'"),
    "verb": ("'\"burn\"'", "'null'"),
    "versions": ("'null'",),
    "run": ("'\"x\"'",),
}
BAD_FACTS_THAT_A_RUN_MENDS = {"skipped": ("5",), "finished": ("'\"late\"'",)}


def told_of_damage(change: str, folder: Path, *verbs: str) -> list[tuple[int, str]]:
    """Exit codes and errors of what reads a journal in which SQL has changed a value."""
    image, path = folder / "x.bin", folder / "j"
    image.write_bytes(b"\xff" * 4096)
    audit = ("audit", image, *AT, "--journal", path)
    fleet(*audit, "--quiet")
    with sqlite3.connect(path) as database:
        assert database.execute(change).rowcount == 1
    database.close()
    commands = {
        "report": ("report", path, "-o", folder / "r.csv", "-o", folder / "r.html"),
        "merge": ("merge", path, "-o", folder / "merged"),
        "audit": (*audit, "--report", folder / "r.jsonl"),
        "summary": audit,
    }
    found = [run("fleet", *commands[verb]) for verb in verbs]
    return [(done.code, done.err.replace(f"espcert: {path}: ", "")) for done in found]


DAMAGED = (4, "the journal cannot be read or written: it is damaged\n")


@pytest.mark.parametrize("value", BAD_RECORDS)
def test_a_journal_with_a_bad_record(value: str, tmp_path: Path) -> None:
    change = f"UPDATE records SET record = {value}"
    told = told_of_damage(change, tmp_path, "report", "audit", "summary")
    assert told == [DAMAGED] * 3


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_FACTS.items() for value in values]
)
def test_a_journal_with_a_bad_fact(name: str, value: str, tmp_path: Path) -> None:
    change = f"UPDATE facts SET value = {value} WHERE name = '{name}'"
    told = told_of_damage(change, tmp_path, "report", "merge", "audit")
    assert told == [DAMAGED] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_FACTS_THAT_A_RUN_MENDS.items() for value in values],
)
def test_a_journal_with_a_bad_fact_that_a_run_mends(name: str, value: str, tmp_path: Path) -> None:
    change = f"UPDATE facts SET value = {value} WHERE name = '{name}'"
    report, merge, (code, _) = told_of_damage(change, tmp_path, "report", "merge", "audit")
    assert (report, merge, code) == (DAMAGED, DAMAGED, 3)


def test_a_journal_in_use(tmp_path: Path, dumps: Path) -> None:
    path = tmp_path / "j"
    fleet("audit", dumps, *AT, "--journal", path, "--quiet")
    with sqlite3.connect(path) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = fleet("audit", dumps, *AT, "--journal", path)
    assert done.code == 2
    assert "in use by another run" in done.err


def test_a_journal_that_cannot_be_written(tmp_path: Path, dumps: Path) -> None:
    done = fleet("audit", dumps, "--journal", tmp_path / "none" / "j")
    assert done.code == 4
    assert len(done.err.splitlines()) == 1


def test_an_audit_without_journal_says_so_and_leaves_nothing(dumps: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = fleet("audit", dumps, *AT, env={"TMPDIR": str(temporary)})
    assert "without --journal" in done.err
    assert list(temporary.iterdir()) == []
    quiet = fleet("audit", dumps, *AT, "--quiet", env={"TMPDIR": str(temporary)})
    assert (quiet.out, quiet.err) == ("", "")
    assert quiet.code == done.code


# --- Reports --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a small fleet with hostile names, and with a copy."""
    folder = tmp_path_factory.mktemp("reported")
    dumps = folder / "dumps"
    fleet_maker.make(dumps, 24, seed=2)
    hostile = ("=HYPERLINK(1)", "<script>alert(1)</script>", "a\x1b[31mb\x00c", "@x", "-1+1")
    for number, name in enumerate(hostile):
        image_with(pki.make_leaf(None, name, until=2026), dumps, f"={number}&<'.bin")
    shutil.copy(dumps / "=0&<'.bin", dumps / "copy.bin")
    (dumps / "erased.bin").write_bytes(b"\xff" * 4096)
    (dumps / "ca.pem").write_bytes(Path(material("ec_ca.pem")).read_bytes())
    done = fleet("audit", "dumps", *AT, "--journal", "j", "--expires-within", "900", cwd=folder)
    assert done.code == 3
    return folder / "j"


def reported(journal: Path, path: Path, *more: str) -> Path:
    done = fleet("report", journal, "-o", path, *more)
    assert (done.code, done.err) == (0, "")
    return path


def test_reports_later_are_reports_now(dumps: Path, tmp_path: Path) -> None:
    suffixes = ("jsonl", "csv", "sarif", "xml")
    now = [tmp_path / f"now.{suffix}" for suffix in suffixes]
    asked = [one for path in now for one in ("--report", str(path))]
    fleet("audit", dumps, *AT, "--journal", tmp_path / "j", "--quiet", *asked)
    for path in now:
        later = reported(tmp_path / "j", path.with_stem("later"))
        assert later.read_bytes() == path.read_bytes()
    done = fleet("report", tmp_path / "j", "-o", now[0])
    assert done.code == 2
    assert fleet("report", tmp_path / "j", "-o", now[0], "--force").code == 0


def test_the_jsonl_report_names_the_run(journal: Path, tmp_path: Path) -> None:
    lines = reported(journal, tmp_path / "r.jsonl").read_text().splitlines()
    header = json.loads(lines[0])["run"]
    assert (header["tool"], header["verb"], header["at"]) == (
        "espcert",
        "audit",
        "2026-06-01T00:00:00Z",
    )
    assert header["options"]["expires_within"] == 900
    assert len(header["journal_sha256"]) == 64
    assert header["total"] == 32
    sources = [json.loads(line)["source"] for line in lines if '"source"' in line]
    assert sources == sorted(sources)


def test_the_csv_report_computes_nothing(journal: Path, tmp_path: Path) -> None:
    path = reported(journal, tmp_path / "r.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    assert all(
        value[:1] not in tuple("=+-@\t\r") or not value for row in rows for value in row.values()
    )
    assert any(row["source"].endswith("=0&<'.bin") for row in rows)
    assert {"2026-06-01T00:00:00Z" in row["run"] for row in rows} == {True}
    assert b"\x1b" not in path.read_bytes()
    assert "device-expires" in {code for row in rows for code in row["warnings"].split()}


def test_the_sarif_report(journal: Path, tmp_path: Path) -> None:
    found = json.loads(reported(journal, tmp_path / "r.sarif").read_text())
    assert found["version"] == "2.1.0"
    (ran,) = found["runs"]
    rules = {rule["id"] for rule in ran["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in ran["results"]} == rules
    assert {"shared-device-cert", "erased", "device-expires"} <= rules
    assert {result["level"] for result in ran["results"]} == {"error", "warning"}
    for result in ran["results"]:
        assert result["message"]["text"]
        for place in result["locations"]:
            uri = place["physicalLocation"]["artifactLocation"]["uri"]
            assert set(uri).isdisjoint("<>' =&"), uri


def test_the_junit_report(journal: Path, tmp_path: Path) -> None:
    tree = ElementTree.parse(reported(journal, tmp_path / "r.xml"))
    (suite,) = tree.getroot()
    cases = suite.findall("testcase")
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(kind, "")) == len(suite.findall(f"testcase/{tag}")) > 0
    assert int(suite.get("tests", "")) == len(cases) > 32
    assert any("<'.bin" in (case.get("name") or "") for case in cases)


def test_the_parquet_report(journal: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    exact = reported(journal, tmp_path / "r.jsonl")
    table = parquet.read_table(reported(journal, tmp_path / "r.parquet"))
    rows = table.to_pylist()
    records = records_of(exact)
    assert [row["source"] for row in rows] == [record["source"] for record in records]
    for row, record in zip(rows, records, strict=True):
        for name in ("verdict", "subject", "exit_code", "proven", "partition", "evidence"):
            assert row[name] == record[name]
        assert [one["code"] for one in row["findings"]] == [
            one["code"] for one in record["findings"]
        ]
        assert json.loads(row["fingerprints"]) == record["fingerprints"]
    assert json.loads(table.schema.metadata[b"espcert"])["verb"] == "audit"


def test_redacted_reports_name_no_module(journal: Path, tmp_path: Path) -> None:
    records = records_of(reported(journal, tmp_path / "all.jsonl"))
    secret = {name for record in records for name in record["names"]}
    secret |= {
        str(record[name]) for record in records for name in ("subject", "serial") if record[name]
    }
    secret |= {record["source"] for record in records} | {
        "dumps",
        "HYPERLINK",
        "alert(1)",
        "module 1",
    }
    secret |= {Path(record["source"]).name for record in records}
    for suffix in ("jsonl", "csv", "sarif", "xml"):
        path = reported(journal, tmp_path / f"redacted.{suffix}", "--redact")
        text = path.read_text("utf-8")
        assert [one for one in secret if one and one in text] == []
        assert "redacted-" in text
    again = reported(journal, tmp_path / "again.jsonl", "--redact")
    assert again.read_bytes() == (tmp_path / "redacted.jsonl").read_bytes()
    kept = records_of(again)
    assert [one["verdict"] for one in kept] == [one["verdict"] for one in records]
    assert len({one["source"] for one in kept}) == len(records)


def test_a_run_can_be_redacted_as_it_goes(tmp_path: Path) -> None:
    copied(tmp_path / "in" / "SN4711.bin")
    done = fleet("migrate", "in", "-o", "out", *AT, "--json", "--redact", cwd=tmp_path)
    assert "SN4711" not in done.out
    assert "espcert test" not in done.out
    assert done.object["source"].startswith("redacted-")


KEY_FILES = {
    "image,hmac_key\nx.bin,SN4711.bin\n": "not-found",
    "image,efuse\nx.bin,SN4711.txt\n": "bad-efuse",
    "image,hmac_key\nx.bin,x-SN4711\n": "bad-key",
}


@pytest.mark.parametrize("manifest", KEY_FILES)
def test_redacted_errors_name_no_key_file(manifest: str, tmp_path: Path) -> None:
    copied(tmp_path / "x.bin")
    for name in ("SN4711.txt", "x-SN4711"):
        (tmp_path / name).write_text("{")
    (tmp_path / "m.csv").write_text(manifest)
    plain = fleet("audit", "m.csv", *AT, "--json", cwd=tmp_path).object
    assert "SN4711" in plain["error"]["message"]
    done = fleet("audit", "m.csv", *AT, "--json", "--redact", cwd=tmp_path)
    assert done.object["error"]["code"] == plain["error"]["code"]
    assert "SN4711" not in done.out


def test_redacted_errors_of_an_image_keep_their_words(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("SN4711.bin\n")
    done = fleet("audit", "@list", *AT, "--json", "--redact", cwd=tmp_path)
    assert done.object["error"]["message"] == f"{done.object['source']}: no such file"


# --- Exit codes and the terminal ------------------------------------------------------------------


def test_the_exit_code_says_the_worst(tmp_path: Path) -> None:
    good = image_with(pki.make_leaf(pki.make_ca(), "m"), tmp_path, "good.bin")
    bad = tmp_path / "erased.bin"
    bad.write_bytes(b"\xff" * 4096)
    wrong = tmp_path / "expired.bin"
    image_with(pki.make_leaf(None, "old", until=2022), tmp_path, "expired.bin")
    assert fleet("audit", good, *AT).code == 0
    assert fleet("audit", good, wrong, *AT).code == 1
    assert fleet("audit", good, wrong, bad, *AT).code == 3
    shutil.copy(good, tmp_path / "copy.bin")
    assert fleet("audit", good, tmp_path / "copy.bin", *AT).code == 1
    assert fleet("audit", good, *AT, "--strict", "--ca", FIXTURES / "inputs/ec_ca.pem").code == 1


def test_a_summary_for_people(dumps: Path) -> None:
    done = fleet("audit", dumps, *AT)
    assert done.out.startswith("60 images: ")
    assert "without result" in done.out
    assert "\x1b" not in done.out + done.err


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    path = tmp_path / "in" / os.fsdecode(b"\xff\xfe.bin")
    copied(path)
    reports = [one for end in ("jsonl", "csv", "sarif", "xml") for one in ("--report", f"r.{end}")]
    done = fleet("migrate", "in", "-o", "out", *AT, *reports, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "out" / path.name).is_file()
    assert ElementTree.parse(tmp_path / "r.xml").getroot().tag == "testsuites"
