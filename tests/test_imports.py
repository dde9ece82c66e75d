"""What may import what: packages and their rooms one way, nothing a study, and the counter no more than it must.

    nas -> dynacp -> budget -> numpy and the standard library

A room is a folder in a package, and imports the rooms before it in `ROOMS`. Modules beside the rooms are either tools,
which import no room, or commands, which no room imports. The commands of `dynacp` are its uppermost room: its
`__main__.py` alone imports them, and commands of `dynacp` and `nas` the options that they share.

Command lines (`__main__.py`) put parts together and may look upwards, among the packages. Benchmarks and studies stand
on top, and no package knows of them or of the tests. What else is imported is a declared dependency; in `budget` only
where it is what the module is about.
"""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BELOW = {
    "budget": set[str](),
    "dynacp": {"budget"},
    "nas": {"budget", "dynacp"},
    "benchmarks": {"budget", "dynacp", "nas"},
    "studies": {"budget", "dynacp", "nas"},
}
"""By package, and what stands on the packages: what it may import besides itself."""

ROOMS = {
    "budget": ("cli",),
    "dynacp": ("student", "audio", "efficientat", "training", "teachers", "pipeline", "export", "commands"),
    "nas": ("space", "editing", "strategy", "scoring", "study", "results", "views", "designer"),
}
"""By package, its rooms from the bottom to the top."""

PACKAGES = ("budget", "dynacp", "nas")
OURS = {*BELOW, "tests", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
OUTSIDE = {
    "rich": {"report", "terminal"},
    "onnx": {"onnx_count"},
    **{name: {"witness"} for name in ("torch", "torchinfo", "fvcore", "thop")},
}
"""By what `budget` imports from outside besides numpy: in which of its modules alone."""

SOURCES = [path for package in BELOW for path in sorted((ROOT / package).rglob("*.py"))]
BUDGET = [path for path in SOURCES if path.relative_to(ROOT).parts[0] == "budget"]


def modules_imported(path: Path) -> set[str]:
    """Dotted names of what a file imports, anywhere in it; of `from a import b` both a and a.b."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.partition(".")[0] for name in modules_imported(path)}


def rooms_imported(path: Path) -> set[str]:
    """The rooms of its own package that a file imports."""
    package = path.relative_to(ROOT).parts[0]
    return {
        room
        for room in ROOMS[package]
        for name in modules_imported(path)
        if f"{name}.".startswith(f"{package}.{room}.")
    }


def forbidden(path: Path, names: set[str]) -> set[str]:
    """Which of our own packages a file may not import."""
    package = path.relative_to(ROOT).parts[0]
    allowed = {package} | BELOW[package] | (set(PACKAGES) if path.name == "__main__.py" else set())
    return names & OURS - allowed


def outside(path: Path) -> set[str]:
    return imported(path) - OURS - sys.stdlib_module_names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    assert not forbidden(path, imported(path))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("nas/study/worker.py", "studies"),
        ("nas/study/worker.py", "benchmarks"),
        ("nas/study/worker.py", "tiny"),
        ("dynacp/training/loop.py", "studies"),
        ("dynacp/training/loop.py", "nas"),
        ("dynacp/__main__.py", "studies"),
        ("budget/ledger.py", "dynacp"),
        ("budget/__main__.py", "benchmarks"),
        ("benchmarks/step.py", "studies"),
        ("studies/sharing.py", "benchmarks"),
    ],
)
def test_the_law_forbids_what_it_says(file: str, name: str) -> None:
    assert forbidden(ROOT / file, {name, "budget"} - {Path(file).parts[0]}) >= {name}


@pytest.mark.parametrize("package", ROOMS)
def test_every_folder_of_a_package_is_a_room(package: str) -> None:
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} == set(ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_the_rooms_below_it_alone(package: str) -> None:
    rooms = ROOMS[package]
    for height, room in enumerate(rooms):
        for path in (ROOT / package / room).rglob("*.py"):
            assert rooms_imported(path) <= {*rooms[: height + 1]}, path


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_a_module_that_stands_on_rooms(package: str) -> None:
    above = {f"{package}.{path.stem}" for path in (ROOT / package).glob("*.py") if rooms_imported(path)}
    for path in (ROOT / package).glob("*/*.py"):
        assert not modules_imported(path) & above, path


def test_the_command_line_alone_imports_commands_and_commands_alone_import_their_options() -> None:
    room = ROOT / "dynacp" / "commands"
    commands = {f"dynacp.commands.{path.stem}" for path in room.glob("[!_]*.py")}
    for path in {*SOURCES} - {ROOT / "dynacp" / "__main__.py"}:
        used = modules_imported(path) & commands
        assert used <= {"dynacp.commands.options"}, path
        assert not used or path.parent in (room, ROOT / "nas"), path


@pytest.mark.parametrize("package", ROOMS)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / package).rglob("*.py")}
    TopologicalSorter({name: modules_imported(path) & files.keys() for name, path in files.items()}).prepare()


@pytest.mark.parametrize("path", BUDGET, ids=lambda path: path.name)
def test_the_budget_imports_each_tool_where_it_is_about_it_and_nowhere_else(path: Path) -> None:
    assert outside(path) - {"numpy"} == {name for name, modules in OUTSIDE.items() if path.stem in modules}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_from_outside_is_a_declared_dependency(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=\[ ]", name)[0].lower() for name in project["dependencies"]}
    sources = packages_distributions()
    used = {name for path in SOURCES if package in path.parts for name in outside(path)}
    assert {name for name in used if not {source.lower() for source in sources[name]} & declared} == set()


def test_the_budget_and_the_architecture_import_no_torch() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "budget").rglob("[!_]*.py")]
    modules = [".".join(path.parts) for path in paths if path.name != "witness"]
    code = f"import sys, dynacp.student.architecture, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
