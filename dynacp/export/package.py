"""The challenge's submission: an installable package of all students, which needs nothing of this project.

What it computes with are this project's own modules, copied into it with their imports rewritten.
"""

import ast
import json
import keyword
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch

from budget.ledger import Ledger, ledger
from budget.witness import by_torchinfo
from dynacp.corpus import BASE
from dynacp.export.card import card
from dynacp.export.parity import Parity
from dynacp.export.trained import DTYPES_OF, ExportError, Form, Trained
from dynacp.files import write_text
from dynacp.submission import System, logits

ROOT_MODULE = "dynacp.submission"
OURS = ("dynacp", "budget")
ALLOWED = {"torch", "torchaudio", "soundfile", "numpy"}
"""What a copied module may import beside Python's own; numpy comes with soundfile."""

REQUIREMENTS = ("torch>=2.11", "torchaudio>=2.11", "soundfile>=0.13")

INTERFACE = '''"""The challenge's interface to the system {index} of {name}."""

from pathlib import Path

from torch import nn

from {package}._system import submission

CHECKPOINT = Path(__file__).parent / "resources" / "{module}.pt"


def load_model(model_file_path=None):
    """The system; its `model` holds the base student and the devices'."""
    return submission.load_system(model_file_path or CHECKPOINT)


def load_inputs(file_paths, device_ids, model):
    """A log-mel [1, 1, n_mels, T] for each file, in order; devices do not change what is heard."""
    return submission.log_mels(model, file_paths)


def get_model_for_device(model, device_id) -> nn.Module:
    """The device's student, or the base for a device that has none."""
    return model.student(device_id)


def predict(file_paths, device_ids, model_file_path=None, use_cuda=False):
    """(Logits [n_classes] of each file, in order; the classes in the order of the logits)."""
    model = load_model(model_file_path)
    inputs = load_inputs(file_paths, device_ids, model)
    return submission.logits(model, inputs, device_ids, use_cuda=use_cuda), model.classes
'''

PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "1.0.{index}"
description = "DCASE Task 1: low-complexity, device-aware acoustic scene classification"
readme = "README.md"
requires-python = ">=3.11"
dependencies = {requirements}

[tool.setuptools]
packages = ["{package}", "{package}._system", "{package}.resources"]

[tool.setuptools.package-data]
"{package}.resources" = ["*"]
"""


USAGE = """
```
pip install .
```

```python
from {package} import {module}

logits, classes = {module}.predict(["clip.wav"], ["a"])
```

Clips may have any sample rate and several channels, but last one second: other lengths are an error. Devices that have
no student are predicted by the base. Computed in {dtype}, on a GPU with `use_cuda=True` where there is one.
"""


@dataclass(frozen=True)
class Packaged:
    """What was written, and how each student in it compares with the run's."""

    folder: Path
    parity: dict[str, Parity]


def write_package(trained: Trained, students: Sequence[str], name: str, index: int) -> Packaged:
    """Write RUN/exports/dcase-INDEX, a project for pip. Raises `ExportError`, and leaves nothing half done."""
    package = package_name(name, index)
    if trained.dtype not in DTYPES_OF["dcase"]:
        raise ExportError(
            f"{trained.run} is meant for {trained.dtype}, but a package computes in PyTorch, in one of "
            f"{', '.join(DTYPES_OF['dcase'])}; `--to int8` and `--to executorch` export in {trained.dtype}."
        )
    module = f"{package}_{index}"
    folder = trained.run / "exports" / f"dcase-{index}"
    checkpoint = _checkpoint(trained, students)
    parity = _checked(trained, System(checkpoint))
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    texts = _texts(package, module, name, index) | {"README.md": _card(trained, parity, package, module)}
    for path, text in texts.items():
        (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(unfinished / path, text)
    resources, rate = unfinished / package / "resources", trained.front_end.sample_rate
    torch.save(checkpoint, resources / f"{module}.pt")
    sf.write(resources / "dummy.wav", np.random.default_rng(0).normal(0, 0.01, rate), rate, subtype="PCM_16")
    shutil.copy(trained.data / "split_setup" / "test.csv", resources / "test.csv")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return Packaged(folder, parity)


def package_name(name: str, index: int) -> str:
    """`<name>_task1`. Raises `ExportError` for what is no name of a Python package."""
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise ExportError(
            f"`--name` must be a Python name of ASCII letters, digits and '_', such as Team_Lab, but got {name!r}."
        )
    if index < 1:
        raise ExportError(f"`--index` must be at least 1, but got {index}.")
    return f"{name}_task1"


def _checkpoint(trained: Trained, students: Sequence[str]) -> dict[str, Any]:
    first = trained.base
    return {
        "architecture": first.network.architecture.to_json(),
        "classes": list(first.classes),
        "front_end": asdict(trained.front_end),
        "dtype": trained.dtype,
        "base": BASE,
        "students": {name: trained.student(name, trained.dtype).network.state_dict() for name in students},
    }


def _checked(trained: Trained, system: System) -> dict[str, Parity]:
    """Judge each student as the organisers will, and compare it with the run's."""
    architecture, dtype = system.architecture, trained.dtype
    trained.judge(architecture, Form("dcase", dtype))
    account = ledger(architecture.layers(), dtype=dtype)
    heard, parity = torch.from_numpy(trained.heard(waveform=True)), dict[str, Parity]()
    with torch.inference_mode():
        log_mels = system.front_end(heard)
    for name, network in system.model.items():
        compare(name, by_torchinfo(network, (1, 1, *architecture.input)), account)
        ours = torch.stack(logits(system, log_mels.split(1), [name] * len(heard), use_cuda=False)).numpy()
        student = trained.student(name, dtype)
        with torch.inference_mode():
            theirs = torch.cat([student.network(each.to(student.dtype)).float() for each in log_mels.split(1)])
        parity[name] = Parity.between(ours, theirs.numpy())
        if parity[name].equal_decisions < 1:
            raise ExportError(f"{name}: the packaged student decides otherwise than the run's: {parity[name]}.")
    return parity


def compare(name: str, counted: tuple[int, int], account: Ledger) -> None:
    """Raise `ExportError` unless torchinfo counts the parameters and MACs of the ledger."""
    if counted != (account.parameters, account.macs):
        raise ExportError(
            f"{name}: torchinfo counts {counted[0]:,} parameters and {counted[1]:,} MACs, but the ledger "
            f"{account.parameters:,} and {account.macs:,}."
        )


def _card(trained: Trained, parity: dict[str, Parity], package: str, module: str) -> str:
    form = Form("dcase", trained.dtype)
    account = ledger(trained.base.network.architecture.layers(), convention=form.convention, dtype=form.dtype)
    cost = {"parameters": account.parameters, "bytes": account.bytes, "macs": account.macs}
    of_each = [
        {"student": name, **cost, "verdict": str(trained.limits.verdict(account)), "parity": asdict(compared)}
        for name, compared in parity.items()
    ]
    usage = USAGE.format(package=package, module=module, dtype=trained.dtype)
    return card(trained, of_each, title=f"system {module}", form=form, library="pytorch", usage=usage)


def _texts(package: str, module: str, name: str, index: int) -> dict[str, str]:
    """Path -> content of the package's files of text."""
    system = {f"{package}/_system/{path}": text for path, text in vendored(f"{package}._system").items()}
    return {
        "pyproject.toml": PYPROJECT.format(package=package, index=index, requirements=json.dumps(REQUIREMENTS)),
        f"{package}/__init__.py": "",
        f"{package}/{module}.py": INTERFACE.format(package=package, module=module, name=name, index=index),
        f"{package}/resources/__init__.py": "",
        f"{package}/_system/__init__.py": "",
        **system,
    }


def vendored(package: str) -> dict[str, str]:
    """File name -> source of the submission's modules, all in one package. Raises `ExportError` for what cannot be."""
    found, waiting = dict[str, str](), [ROOT_MODULE]
    while waiting:
        module = waiting.pop()
        spec = find_spec(module)
        assert spec is not None and spec.origin is not None, module
        source = Path(spec.origin).read_text(encoding="utf-8")
        for imported in _imported(source):
            top = imported.partition(".")[0]
            if top in OURS and f"{imported.rpartition('.')[2]}.py" not in found:
                waiting.append(imported)
            elif top not in {*OURS, *ALLOWED, *sys.stdlib_module_names}:
                raise ExportError(f"{module} imports {imported}, which a submission may not need.")
        found[f"{module.rpartition('.')[2]}.py"] = re.sub(
            rf"^from (?:{'|'.join(OURS)})\.(\w+) import", rf"from {package}.\1 import", source, flags=re.MULTILINE
        )
    return found


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
