"""Stages: artifacts that are made once, kept with what they were made from, and never used half.

A stage is a file and, beside it, a record: the settings it was made with, the checksums of the stages it was made
from, and its own checksum. It is current where all three still hold. The file is written first and the record last,
each whole or not at all, so a process may be killed at any moment; a stage whose record does not fit its file is made
again. A lock lets several processes share a folder: one makes a stage, the others wait for it.
"""

import errno
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from budget.errors import UserError
from dynacp.files import write_text, written_whole
from dynacp.strict_json import read_json

OnStep = Callable[[], None]
"""A function that is called after each training step, or batch of predictions."""

FORMAT = 2
"""The version of what trainings and predictions compute, a part of every stage's settings: raise it when the same
settings come to give something else, so that stages are made again.
"""

VERSIONED = ("torch", "torchaudio", "numpy")
"""The packages whose versions are kept in the records of stages."""


class StageError(UserError):
    """A stage that is missing or damaged, or that cannot be made; everything finished before it is kept."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """An artifact to be made once, and what it is made from.

    `name` is unique in a run. `path` is the artifact's file, without suffix. `settings` (plain JSON) are all that the
    artifact depends on besides the artifacts in `needs`. `make(on_step)` returns what is to be stored: tensors, numbers
    and strings in dicts and lists. `steps` is how often it calls `on_step`, and `work` how long it takes, in any unit
    that stages share.
    """

    name: str
    path: Path
    settings: Mapping[str, Any]
    needs: tuple["Stage", ...]
    make: Callable[[OnStep], dict[str, Any]]
    steps: int = 1
    work: float = 1.0

    @property
    def file(self) -> Path:
        """The file that holds the artifact."""
        return beside(self.path, ".pt")

    @property
    def record(self) -> Path:
        """The file that holds what the artifact was made from, and its checksum."""
        return beside(self.path, ".json")


@dataclass
class StageStore:
    """Looks up stages and makes them, and remembers which ones it has verified."""

    verified: dict[str, str] = field(default_factory=dict)
    """Name of a stage that was found current -> its artifact's checksum."""

    def checksum(self, stage: Stage) -> str | None:
        """The artifact's checksum if it is there, whole, and made from what its stage says now; None otherwise.

        One that was found is remembered: what happens to the file later is seen by `load` alone.
        """
        if stage.name not in self.verified:
            checksum = self._checksum(stage)
            if checksum is None:
                return None
            self.verified[stage.name] = checksum
        return self.verified[stage.name]

    def _checksum(self, stage: Stage) -> str | None:
        record = _record(stage.record)
        needs = {each.name: self.checksum(each) for each in stage.needs}
        if record is None or None in needs.values():
            return None
        if (record["settings"], record["needs"]) != (plain(stage.settings), needs):
            return None
        content = _content(stage.file)
        return record["checksum"] if content is not None and _digest(content) == record["checksum"] else None

    def load(self, stage: Stage) -> dict[str, Any]:
        """The content that a stage stored, as its `make` returned it, read anew onto the CPU.

        Raises `StageError` if the stage is not current, or its file has changed since it was verified.
        """
        checksum, content = self.checksum(stage), _content(stage.file)
        if checksum is None or content is None or _digest(content) != checksum:
            raise StageError(
                f"{stage.name} is missing or outdated ({stage.file}): run the same `python -m dynacp train` command "
                "again."
            )
        return _loaded(content)

    def make(self, stage: Stage, on_step: OnStep, *, wait: bool = True) -> bool:
        """Make a stage unless it is current; returns whether it was made.

        `on_step` is called after each training step and each batch of predictions, `stage.steps` times in all. Where
        another process is making the stage, this one waits for it; with `wait` false it raises `filelock.Timeout`.
        Raises `StageError` if what it needs is not made yet, and if the GPU's memory or the disk runs out; else what
        the stage's `make` raises. Nothing is stored then.
        """
        stage.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(beside(stage.path, ".lock"), timeout=-1 if wait else 0):
            if self.checksum(stage) is not None:
                return False
            needs = {each.name: self.checksum(each) for each in stage.needs}
            if missing := [name for name, checksum in needs.items() if checksum is None]:
                raise StageError(
                    f"{stage.name} needs {', '.join(missing)}, not made yet: `python -m dynacp train` makes them."
                )
            started = time.perf_counter()
            with _clear_errors(stage):
                content = stage.make(on_step)
                stored = io.BytesIO()  # torch.save reports a full disk as an error of its own archive
                torch.save(content, stored)
                with written_whole(stage.file) as partial:
                    partial.write_bytes(stored.getvalue())
                record = {
                    "settings": plain(stage.settings),
                    "needs": needs,
                    "checksum": _digest(stored.getvalue()),
                    "seconds": round(time.perf_counter() - started, 3),
                    "threads": torch.get_num_threads(),
                    "versions": {name: version(name) for name in VERSIONED},
                }
                write_text(stage.record, json.dumps(record, indent=2) + "\n")
            return self.checksum(stage) is not None


def in_order(stages: list[Stage]) -> list[Stage]:
    """The stages and all that they need, each once (by its name), and none before what it needs."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        for need in stage.needs:
            visit(need)
        ordered.setdefault(stage.name, stage)

    for stage in stages:
        visit(stage)
    return list(ordered.values())


def read_artifact(path: Path) -> dict[str, Any]:
    """The content of the stage stored under `path` (without suffix), on the CPU, whatever it was made with.

    Raises `StageError` unless it is finished and undamaged.
    """
    return _loaded(_whole(path)[0])


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that the stage stored under `path` (without suffix) was made with, as parsed JSON.

    Raises `StageError` as `read_artifact` does.
    """
    return _whole(path)[1]["settings"]


def _whole(path: Path) -> tuple[bytes, dict[str, Any]]:
    """A stage's artifact and record."""
    file, record = beside(path, ".pt"), _record(beside(path, ".json"))
    content = _content(file)
    if record is None or content is None or _digest(content) != record["checksum"]:
        raise StageError(f"{file} is not there, not finished or damaged; run the training again, which mends it.")
    return content, record


def beside(path: Path, ending: str) -> Path:
    """The path with an ending such as ".pt" added to its whole name: dots in the name start no suffix."""
    return path.with_name(path.name + ending)


def _record(file: Path) -> dict[str, Any] | None:
    """A stage's record, or None if there is none that can be read."""
    try:
        record = read_json(file)
    except (OSError, ValueError):
        return None
    kinds = {"settings": dict, "needs": dict, "checksum": str}
    whole = isinstance(record, dict) and all(isinstance(record.get(name), kind) for name, kind in kinds.items())
    return record if whole else None


def plain(settings: Mapping[str, Any]) -> Any:
    """Settings as JSON would give them back, in copies: tuples as lists, paths and other objects as their strings."""
    return json.loads(json.dumps(settings, default=str))


@contextmanager
def _clear_errors(stage: Stage) -> Iterator[None]:
    """Raise `StageError` with a remedy where memory or disk runs out."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise StageError(
            f"{stage.name}: the GPU ran out of memory. Lower the batch of this stage with `--set`, or free the GPU; "
            "finished stages are kept and the same command goes on from there."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StageError(
            f"{stage.name}: the disk of {stage.path.parent} is full. Make room and give the same command again; "
            "finished stages are kept."
        ) from None


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _loaded(content: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def derived_seed(seed: int, name: str) -> int:
    """A 31-bit seed for one stage, from a seed for all stages and the stage's name."""
    return int.from_bytes(blake2b(f"{seed} {name}".encode(), digest_size=4).digest()) >> 1
