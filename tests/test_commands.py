"""What holds for every command line: where its output may go, and what it may lack."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from budget.cli.command import run
from dynacp.pipeline.plan import read_run
from dynacp.stages import StageError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("budget", "dynacp", "nas")
COMMANDS = (
    ("budget.__main__",), ("dynacp.__main__",), ("dynacp.__main__", "train"), ("dynacp.__main__", "predict"),
    ("dynacp.__main__", "export"), ("dynacp.efficientat.__main__",), ("nas.search",), ("nas.explore",),
    ("nas.export",), ("nas.plot",), ("nas.report",),
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("handlers")


@pytest.fixture(params=COMMANDS, ids=" ".join)
def told(request: pytest.FixtureRequest) -> Callable[[], int]:
    """A command line that prints its help."""
    module, *words = request.param
    return partial(import_module(module).main, [*words, "--help"])


def test_help_is_told_in_ascii_and_says_every_status(told: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="ascii"))
    assert run(told) == 0
    assert b"usage: python -m" in content.getvalue()


def test_help_that_is_lost_has_a_status_of_its_own(
    told: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert run(told) == 3
    assert capsys.readouterr().err == "error: standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("module", sorted({module for module, *_ in COMMANDS}))
def test_the_help_of_every_command_says_its_statuses(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(partial(import_module(module).main, ["--help"])) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Exit status: 0 " in text
    assert "3 standard output could not be written" in text


def test_every_command_line_is_run_in_the_one_way() -> None:
    texts = {path: path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    for path, text in texts.items():
        assert text.count('__name__ == "__main__"') == text.count("    sys.exit(run(main))\n"), path


def test_nothing_but_a_cache_is_missed_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The packages' folders for compiled code are taken by files, and so is the home."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in {path.parent for path in (tmp_path / package).rglob("*.py")}:
            (folder / "__pycache__").touch()
    unwanted = ("XDG_", "NUMBA_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    search = subprocess.run(
        [sys.executable, "-m", "nas.search"], cwd=tmp_path, env=environment | {"HOME": "/dev/null"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert search.returncode == 2, search.stderr
    assert "error: the cache /dev/null/.cache/dynacp cannot be used: /dev/null/.cache" in search.stderr
    assert search.stderr.endswith(": Not a directory. Name another with `--cache`.\n")
    assert not (tmp_path / "studies" / "search" / "study.db").exists()


def test_a_command_in_an_error_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"`python -m dynacp train ARCH --out '\S+/no run'` makes or mends it"):
        read_run(tmp_path / "no run")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become a user without account")
def test_a_user_without_account_has_a_name_and_must_name_a_cache() -> None:
    code = (
        "import os, pwd, sys; from budget.cli.command import run; from nas.explore import main\n"
        "for name in ('HOME', 'LOGNAME', 'USER', 'LNAME', 'USERNAME'): os.environ.pop(name, None)\n"
        "os.setuid(54321)\n"
        "status = run(lambda: main([])); print(os.environ['USER']); sys.exit(status)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "54321\n")
    assert "the following arguments are required: --cache" in ended.stderr
