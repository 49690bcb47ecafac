"""The rules of the architecture: who imports whom, and what only the command line does."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ROOT / "formats" / "espcert_formats"
TOOLKIT = ROOT / "toolkit" / "espcert"
CLI = TOOLKIT / "cli"
CHECKS = TOOLKIT / "checks"
GENERATED = FORMATS / "_ksy"
LAYOUTS = {"tlv", "cust_flash", "nvs", "nvs_log", "nvs_audit", "partition_table", "registry"}
LONGEST_FUNCTION = 50
HEAVY = ("cryptography", "rich", "typer", "kaitaistruct")


def modules_below(*folders: Path) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in found if GENERATED not in path.parents]


SOURCES = modules_below(FORMATS, TOOLKIT)
LIBRARY = [path for path in SOURCES if CLI not in path.parents]


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    base = FORMATS.parent if FORMATS in path.parents else TOOLKIT.parent
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, those inside functions and strings of types too."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, *filter(None, [node.module])]) if node.level else node.module
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(path: Path, *roots: str) -> list[str]:
    """What a module imports from these packages or modules."""
    return [name for name in imports(path) if any((name + ".").startswith(r + ".") for r in roots)]


each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)
each_library = pytest.mark.parametrize("path", LIBRARY, ids=name_of)


def test_the_rules_see_the_imports() -> None:
    """The helpers find what is there, or no rule would mean anything."""
    assert imports_of(CLI / "common.py", "typer")
    assert imports_of(CLI / "tables.py", "rich")
    assert imports_of(TOOLKIT / "migration.py", "espcert_formats.tlv")
    assert imports_of(CLI / "app.py", "espcert")
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", modules_below(FORMATS), ids=name_of)
def test_formats_never_import_the_toolkit(path: Path) -> None:
    assert imports_of(path, "espcert", "toolkit") == []


@each_library
def test_the_command_line_is_imported_by_nothing_else(path: Path) -> None:
    assert imports_of(path, "espcert.cli") == []


@each_library
def test_typer_and_rich_are_imported_by_the_command_line_only(path: Path) -> None:
    assert imports_of(path, "typer", "rich", "click") == []


@each_source
def test_click_is_not_imported(path: Path) -> None:
    """Late versions of typer bring their own."""
    assert imports_of(path, "click") == []


@pytest.mark.parametrize("path", modules_below(CHECKS), ids=name_of)
def test_checks_know_items_never_layouts(path: Path) -> None:
    names = [f"espcert_formats.{layout}" for layout in LAYOUTS]
    assert imports_of(path, *names, "espcert_formats._ksy") == []


@pytest.mark.parametrize("path", modules_below(TOOLKIT), ids=name_of)
def test_the_toolkit_reads_no_compiled_spec(path: Path) -> None:
    assert imports_of(path, "espcert_formats._ksy", "kaitaistruct") == []


def exits(tree: ast.AST) -> Iterator[str]:
    """Calls that print or end the process."""
    forbidden = {"print", "exit", "quit", "input", "breakpoint"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function in forbidden | {"sys.exit", "os._exit", "os.abort", "sys.stdout.write"}:
                yield function
        elif isinstance(node, ast.Raise) and node.exc is not None:
            raised = ast.unparse(node.exc)
            if raised.startswith("SystemExit"):
                yield raised


@each_library
def test_the_library_prints_nothing_and_never_exits(path: Path) -> None:
    assert list(exits(ast.parse(path.read_text("utf-8")))) == []


def test_printing_would_be_seen() -> None:
    source = "import sys\nprint(1)\nsys.exit(2)\nraise SystemExit(3)"
    assert {"print", "sys.exit", "SystemExit(3)"} <= set(exits(ast.parse(source)))


@each_source
def test_functions_are_short(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    lengths = {one.name: (one.end_lineno or 0) - one.lineno + 1 for one in functions}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


@each_source
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


# --- What is loaded ----------------------------------------------------------------------------


def modules_loaded(code: str, *arguments: str) -> set[str]:
    """Modules that a fresh interpreter has loaded behind some code."""
    tail = "\nimport sys; print('\\n'.join(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def loaded(code: str, *arguments: str) -> set[str]:
    """Packages that a fresh interpreter has loaded behind some code."""
    names = {name.split(".")[0] for name in modules_loaded(code, *arguments)}
    return names & {*HEAVY, "pydantic", "hypothesis", "jsonschema"}


RUN = (
    "import sys\nfrom espcert.cli import run\nsys.argv[0] = 'espcert'\n"
    "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
)


def run_verb(*arguments: str) -> set[str]:
    """Packages that are loaded behind a verb."""
    return loaded(RUN, *arguments)


@pytest.mark.parametrize(
    ("name", "needed"), [("tlv_rsa", "tlv"), ("cust_flash_rsa", "cust_flash"), ("nvs_ec", "nvs")]
)
def test_detect_loads_the_layouts_that_it_asks(name: str, needed: str) -> None:
    """They are asked in the order of the registry, up to the one that recognises the image."""
    image = str(ROOT / "fixtures" / "images" / f"{name}.bin")
    found = modules_loaded(RUN, "detect", image)
    layouts = ["tlv", "cust_flash", "nvs"]
    asked = {f"espcert_formats.{one}" for one in layouts[: layouts.index(needed) + 1]}
    assert {f"espcert_formats.{one}" for one in layouts} & found == asked
    assert not {"espcert.flash_encryption", "espcert.migration"} & found


def test_import_costs_nothing() -> None:
    assert loaded("import espcert") == set()
    assert loaded("import espcert; espcert.__version__; dir(espcert)") == set()
    assert loaded("from espcert import schemas; schemas.load('detect')") == set()


def test_detect_loads_neither_cryptography_nor_rich() -> None:
    images = [str(path) for path in sorted((ROOT / "fixtures" / "images").glob("*.bin"))]
    assert run_verb("detect", *images) == {"typer", "kaitaistruct"}
    assert run_verb("detect", "--json", *images) == {"typer", "kaitaistruct"}


def test_one_image_needs_no_fleet() -> None:
    image = str(ROOT / "fixtures" / "images" / "tlv_ec.bin")
    code = (
        "import sys\nfrom espcert.cli import run\nsys.argv[0] = 'espcert'\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "assert not any('fleet' in name or name == 'sqlite3' for name in sys.modules)\n"
    )
    for verb in ("detect", "verify", "inspect"):
        loaded(code, verb, image)


def test_migrate_and_json_do_without_rich() -> None:
    image = str(ROOT / "fixtures" / "images" / "nvs_ec.bin")
    assert "rich" not in run_verb("inspect", "--json", image)
    assert "rich" not in run_verb("migrate", "--dry-run", image)
    assert {"rich", "cryptography"} <= run_verb("inspect", image)


def test_every_public_name_can_be_imported() -> None:
    import espcert

    assert sorted(espcert.__all__) == espcert.__all__
    for name in espcert.__all__:
        assert getattr(espcert, name) is not None
    with pytest.raises(AttributeError):
        _ = espcert.no_such_name
    assert importlib.metadata.version("espcert") == espcert.__version__
