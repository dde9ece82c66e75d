"""Copies of our modules, which work where the project is not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynacp.export import submission
from dynacp.export.formats import ExportError
from dynacp.export.vendor import vendored

PROJECT = {
    "one/__init__.py": "WHO = 'one'\n",
    "one/memory.py": "WHO = 'one.memory'\n",
    "one/unused.py": "import two\n",
    "one/audio/__init__.py": "",
    "one/audio/reading.py": "from one import WHO as ours\n\n\ndef who():\n    return ours + '.audio.reading'\n",
    "two/memory.py": "import one.audio.reading, math\nWHO = 'two.memory'\n",
    "three/deep/er.py": "WHO = 'three.deep.er'\n",
    "one/start.py": """
import json, two.memory
import one.audio.reading as reading
from one import (
    memory,  # a module
    WHO,
)
from one.audio import reading as again
from two.memory import WHO as theirs


def late():
    é = "ü"; from one.audio.reading import who; return who()


if WHO: import three.deep.er
print(json.dumps([two.memory.WHO, reading.who(), memory.WHO, WHO, again.who(), theirs, late(), three.deep.er.WHO]))
""",
}
"""Two modules of one name, packages with and without __init__.py, and every form of import."""


STAND_INS = ("one", "two", "three")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of three packages that stand in for ours."""
    root = tmp_path / "project"
    _write(root, PROJECT)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr("dynacp.export.vendor.OURS", STAND_INS)
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] in STAND_INS]:
        del sys.modules[name]  # a later test has them in another folder


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def test_copies_of_modules_of_one_name_and_of_every_import_do_what_the_modules_do(
    project: Path, tmp_path: Path
) -> None:
    copies = vendored("one.start", "pack.system", allowed=())
    assert {"one/memory.py", "two/memory.py", "one/audio/__init__.py", "two/__init__.py"} < copies.keys()
    assert "one/unused.py" not in copies
    _write(tmp_path / "elsewhere" / "pack" / "system", copies)

    def printed(module: str, root: Path) -> list[str]:
        command = [sys.executable, "-S", "-m", module]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    said = printed("pack.system.one.start", tmp_path / "elsewhere")
    assert said == printed("one.start", project)
    assert said[:3] == ["two.memory", "one.audio.reading", "one.memory"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("from . import memory", r"one\.odd, line 1: `from \. import memory` cannot be packaged; write an absolute"),
        ("x = 1\nfrom two.memory import *", r"one\.odd, line 2: `from two\.memory import \*` cannot be packaged"),
        ("import importlib\nimportlib.import_module('two')", r"one\.odd calls `import_module`"),
        ("from importlib import import_module as get", r"one\.odd calls `import_module`"),
        ("__import__('two')", r"one\.odd calls `__import__`"),
        ("import requests.sessions", r"one\.odd imports requests\.sessions, which a submission may not need"),
        ("def f():\n    from requests import get", r"one\.odd imports requests, which a submission may not need"),
    ],
)
def test_what_cannot_be_copied_is_refused(project: Path, source: str, complaint: str) -> None:
    (project / "one" / "odd.py").write_text(source)
    with pytest.raises(ExportError, match=complaint):
        vendored("one.odd", "pack.system", allowed={"torch"})


def test_a_submission_is_copied_whole_and_imports_nothing_of_ours() -> None:
    copies = vendored(submission.__name__, "pack.system", allowed={"numpy", "soundfile", "torch", "torchaudio"})
    assert {
        "dynacp/__init__.py",
        "dynacp/student/model.py",
        "dynacp/audio/features.py",
        "budget/errors.py",
    } < copies.keys()
    for source in copies.values():
        compile(source, "a copy", "exec")
        assert not any(
            line.lstrip().startswith(("from dynacp", "import dynacp", "from budget")) for line in source.split("\n")
        )
