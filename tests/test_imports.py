"""The packages import one way, nas -> dynacp -> budget, and the counter imports no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANK = {"budget": 0, "dynacp": 1, "nas": 2}
SOURCES = [path for package in RANK for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__main__.py"]


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    rank = RANK[path.relative_to(ROOT).parts[0]]
    upwards = {name for name in imported(path) if RANK.get(name, -1) > rank}
    assert not upwards, f"{path} imports {upwards}"


@pytest.mark.parametrize("path", [p for p in SOURCES if "budget" in p.parts], ids=lambda path: path.name)
def test_the_budget_names_torch_in_its_witness_alone(path: Path) -> None:
    tools = {"torch", "torchinfo", "fvcore", "thop"} & imported(path)
    assert bool(tools) == (path.name == "witness.py")


def test_the_budget_and_the_architecture_import_no_torch() -> None:
    modules = [f"budget.{path.stem}" for path in (ROOT / "budget").glob("[!_]*.py") if path.stem != "witness"]
    code = f"import sys, dynacp.architecture, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
