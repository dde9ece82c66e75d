"""The challenge's submission: an installable package of up to four systems, which needs nothing of this project.

A system is all students of one run. What it computes with are this project's own modules, copied into the package with
their imports rewritten; all systems share them.
"""

import json
import keyword
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile as sf
import torch

from budget.ledger import Ledger, ledger
from budget.witness import by_torchinfo
from dynacp.audio.dataset import BASE
from dynacp.export import submission
from dynacp.export.card import card
from dynacp.export.finished_run import Trained
from dynacp.export.formats import TARGETS, ExportError, ExportFormat
from dynacp.export.parity import Parity
from dynacp.export.submission import System, logits
from dynacp.export.vendor import vendored
from dynacp.files import behind_links, write_text
from dynacp.student.layers import layers_of

PACKAGE = TARGETS["dcase"]
"""The target of packages."""

MOST_SYSTEMS = 4
"""The most systems that the challenge takes of one team."""

OF_MODULES = {
    "numpy": "numpy>=1.26",
    "soundfile": "soundfile>=0.13",
    "torch": "torch>=2.11,<2.13",  # torchaudio names no torch, and does not load beside later ones
    "torchaudio": "torchaudio>=2.11",
}
"""Package that copied modules may import -> the requirement that installs it."""

OF_SCRIPTS = ("pandas>=2.2", "scikit-learn>=1.5", "torchinfo>=1.8")
"""Requirements of the challenge's two scripts, which run in an environment that holds what a submission requires."""

INTERFACE = '''"""The challenge's interface to system {number} of {package}."""

from pathlib import Path

from torch import nn

from {package}._system.{origin} import {submission} as submission

CHECKPOINT = Path(__file__).parent / "resources" / "{module}.pt"


def load_model(model_file_path=None):
    """The system; its `model` holds the base student and the devices'."""
    return submission.load_system(model_file_path or CHECKPOINT)


def load_inputs(file_paths, device_ids, model):
    """A log-mel [1, 1, n_mels, T] for each file, in order; devices make no difference to it."""
    return list(submission.log_mels(model, file_paths))


def get_model_for_device(model, device_id) -> nn.Module:
    """The device's student, or the base for a device that has none."""
    return model.student(device_id)


def predict(file_paths, device_ids, model_file_path=None, use_cuda=False):
    """(Logits [n_classes] of each file, in order; the classes in the order of the logits)."""
    model = load_model(model_file_path)
    return submission.predict(model, file_paths, device_ids, use_cuda=use_cuda), model.classes
'''
"""A template of the module of one system."""

PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "1.0.0"
description = "DCASE Task 1: low-complexity, device-aware acoustic scene classification"
readme = "README.md"
requires-python = ">=3.11"
dependencies = {requirements}

[tool.setuptools]
packages = {packages}

[tool.setuptools.package-data]
"{package}.resources" = ["*"]
"""
"""A template of a package's pyproject.toml."""

README = """# {package}

A submission to DCASE Task 1, low-complexity acoustic scene classification with device information.

| system | made from | model card |
|---|---|---|
{systems}

```
pip install .
```

installs all systems and what the challenge's two scripts import. In the folder that holds these scripts:

```
python test_complexity.py --submission_name {package} --submission_index 1
python evaluate_submission.py --submission_name {package} --submission_index 1 --dev_set_dir DEV --eval_set_dir EVAL
```
"""
"""A template of a package's README.md."""

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
"""A template of what a system's card says of its use."""


@dataclass(frozen=True)
class Packaged:
    """A package that was written, and how its students compare with those of the runs."""

    folder: Path
    """The folder to install with pip."""
    parity: dict[str, dict[str, Parity]]
    """Module of a system -> name of a student -> how its logits compare with those of the run's student."""


def write_package(runs: Sequence[Trained], name: str) -> Packaged:
    """Write RUN/exports/dcase in the first run: a project for pip, with a system for each run, in their order.

    `runs` are one to `MOST_SYSTEMS`; `name` is as `package_name` takes it. An older package there is replaced. Raises
    `ExportError` for runs or a name that no package takes, for students over the limits, and for copies that compute
    something else; `StageError` for a run that is not finished, or of other data. Nothing is left half done.
    """
    package = package_name(name)
    _check_runs(runs)
    modules = {f"{package}_{number}": run for number, run in enumerate(runs, start=1)}
    texts = _texts(package, modules)
    checkpoints = {module: _checkpoint(run) for module, run in modules.items()}
    parity = {module: _checked(run, System(checkpoints[module])) for module, run in modules.items()}
    folder = runs[0].run / "exports" / "dcase"
    place = behind_links(folder)
    unfinished = place.with_name(f"{place.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    cards = {f"{module}.md": _card(run, parity[module], package, module) for module, run in modules.items()}
    for path, text in (texts | cards).items():
        (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(unfinished / path, text)
    resources, rate = unfinished / package / "resources", runs[0].front_end.sample_rate
    for module, checkpoint in checkpoints.items():
        torch.save(checkpoint, resources / f"{module}.pt")
    noise = np.random.default_rng(0).normal(0, 0.01, rate)
    sf.write(os.fsencode(resources / "dummy.wav"), noise, rate, subtype="PCM_16")
    shutil.copy(runs[0].data / "split_setup" / "test.csv", resources / "test.csv")
    shutil.rmtree(place, ignore_errors=True)
    unfinished.rename(place)
    return Packaged(folder, parity)


def package_name(name: str) -> str:
    """The package's name, `<name>_task1`. Raises `ExportError` for what cannot be the name of a Python package."""
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise ExportError(
            f"`--name` must be a Python name of ASCII letters, digits and '_', such as Team_Lab, but got {name!r}."
        )
    return f"{name}_task1"


def _check_runs(runs: Sequence[Trained]) -> None:
    """Raise `ExportError` for what no package takes, before anything is computed."""
    if len(runs) > MOST_SYSTEMS:
        raise ExportError(f"the challenge takes {MOST_SYSTEMS} systems of one team, but got {len(runs)} runs.")
    for number, run in enumerate(runs):
        if run.run.resolve() in [other.run.resolve() for other in runs[:number]]:
            raise ExportError(f"{run.run} is given twice, but each system is another run.")
        if run.dtype not in PACKAGE.dtypes:
            raise ExportError(
                f"{run.run} is meant for {run.dtype}, but a package computes in PyTorch, in one of "
                f"{', '.join(PACKAGE.dtypes)}; `--to int8` and `--to executorch` export in {run.dtype}."
            )


def _checkpoint(trained: Trained) -> dict[str, Any]:
    students, first = trained.students(), trained.base
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
    trained.judge(architecture, ExportFormat(PACKAGE, dtype))
    account = ledger(layers_of(architecture), dtype=dtype)
    inputs, parity = torch.from_numpy(trained.parity_inputs(waveform=True)), dict[str, Parity]()
    with torch.inference_mode():
        log_mels = system.front_end(inputs)
    for name in trained.students():
        compare(name, by_torchinfo(system.student(name), (1, 1, *architecture.input)), account)
        ours = torch.stack(logits(system, log_mels.split(1), [name] * len(inputs), use_cuda=False)).numpy()
        student = trained.student(name, dtype)
        with torch.inference_mode():
            theirs = torch.cat([student.network(each.to(student.dtype)).float() for each in log_mels.split(1)])
        parity[name] = Parity.between(ours, theirs.numpy())
        if parity[name].equal_decisions < 1:
            raise ExportError(f"{name}: the packaged student decides otherwise than the run's: {parity[name]}.")
    return parity


def compare(name: str, counted: tuple[int, int], account: Ledger) -> None:
    """Raise `ExportError` unless `counted`, torchinfo's (parameters, MACs) of student `name`, are the ledger's."""
    if counted != (account.parameters, account.macs):
        raise ExportError(
            f"{name}: torchinfo counts {counted[0]:,} parameters and {counted[1]:,} MACs, but the ledger "
            f"{account.parameters:,} and {account.macs:,}."
        )


def _card(trained: Trained, parity: dict[str, Parity], package: str, module: str) -> str:
    format, architecture = ExportFormat(PACKAGE, trained.dtype), trained.base.network.architecture
    account = ledger(layers_of(architecture), convention=PACKAGE.convention, dtype=format.dtype)
    cost = {"parameters": account.parameters, "bytes": account.bytes, "macs": account.macs}
    of_each = [
        {"student": name, **cost, "verdict": str(trained.verdict(architecture, format)), "parity": asdict(compared)}
        for name, compared in parity.items()
    ]
    usage = USAGE.format(package=package, module=module, dtype=trained.dtype)
    return card(trained, of_each, title=f"system {module}", format=format, library="pytorch", usage=usage)


def _texts(package: str, modules: dict[str, Trained]) -> dict[str, str]:
    """Path -> content of the package's files of text, but for the cards."""
    origin, _, root = submission.__name__.rpartition(".")
    shared = f"{package}._system"
    copies = {
        f"{package}/_system/{path}": text
        for path, text in vendored(submission.__name__, shared, allowed=OF_MODULES).items()
    }
    interfaces = {
        f"{package}/{module}.py": INTERFACE.format(
            package=package, module=module, number=number, origin=origin, submission=root
        )
        for number, module in enumerate(modules, start=1)
    }
    markers = {f"{package}/{folder}__init__.py": "" for folder in ("", "_system/", "resources/")}
    code = markers | copies | interfaces
    systems = [
        f"| `{module}` | {run.run.resolve().name} | [{module}.md]({module}.md) |" for module, run in modules.items()
    ]
    folders = sorted({str(PurePosixPath(file).parent).replace("/", ".") for file in code})
    requirements = sorted((*OF_MODULES.values(), *OF_SCRIPTS))
    return code | {
        "README.md": README.format(package=package, systems="\n".join(systems)),
        "pyproject.toml": PYPROJECT.format(
            package=package, packages=json.dumps(folders), requirements=json.dumps(requirements)
        ),
    }
