"""Stages are whole and current, or made again."""

import errno
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from dynacp.stages import OnStep, Stage, StageError, StageStore, in_order, read_artifact, read_settings


def counted(folder: Path, name: str, *needs: Stage, settings: dict[str, Any] | None = None) -> tuple[Stage, list[int]]:
    """A stage that stores how often it was made, and the list of its makings."""
    made: list[int] = []

    def make(on_step: OnStep) -> dict[str, Any]:
        made.append(len(made))
        on_step()
        return {"tensor": torch.full((3,), float(len(made))), "makings": len(made)}

    return Stage(name=name, path=folder / name, settings=settings or {"rate": 1}, needs=needs, make=make), made


def made_anew(stage: Stage) -> bool:
    return StageStore().make(stage, lambda: None)


def test_a_stage_is_made_once_and_then_found(tmp_path: Path) -> None:
    stage, made = counted(tmp_path, "one")
    assert made_anew(stage)
    assert not made_anew(stage)
    assert len(made) == 1
    assert StageStore().load(stage)["tensor"].tolist() == [1, 1, 1]
    assert read_artifact(tmp_path / "one")["makings"] == 1


def test_changed_settings_make_it_again_and_what_depends_on_it_too(tmp_path: Path) -> None:
    first, _ = counted(tmp_path, "first")
    second, _ = counted(tmp_path, "second", first)
    assert [made_anew(stage) for stage in (first, second)] == [True, True]
    changed, _ = counted(tmp_path, "first", settings={"rate": (2, 3)})
    after, made = counted(tmp_path, "second", changed)
    assert StageStore().checksum(after) is None
    changed.make(lambda: None)  # so that its content differs from the first one's
    assert [made_anew(stage) for stage in (changed, after)] == [True, True]
    assert [made_anew(stage) for stage in (changed, after)] == [False, False]
    assert len(made) == 1


def test_what_depends_on_a_stage_that_came_out_the_same_stays(tmp_path: Path) -> None:
    first, _ = counted(tmp_path, "first")
    second, _ = counted(tmp_path, "second", first)
    for stage in (first, second):
        made_anew(stage)
    first.record.unlink()
    again, _ = counted(tmp_path, "first")
    assert made_anew(again)
    assert not made_anew(second)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stage: stage.file.unlink(),
        lambda stage: stage.record.unlink(),
        lambda stage: stage.file.write_bytes(stage.file.read_bytes()[:-10]),
        lambda stage: stage.file.write_bytes(bytes([stage.file.read_bytes()[0] ^ 1]) + stage.file.read_bytes()[1:]),
        lambda stage: stage.record.write_text(stage.record.read_text()[:-20]),
        lambda stage: stage.record.write_text("[]"),
    ],
)
def test_a_damaged_stage_is_made_again_and_never_loaded(tmp_path: Path, damage: Callable[[Stage], object]) -> None:
    stage, _ = counted(tmp_path, "one")
    made_anew(stage)
    damage(stage)
    with pytest.raises(StageError, match=r"one is missing or outdated \(.*one\.pt\): run the same"):
        StageStore().load(stage)
    with pytest.raises(StageError, match=r"one\.pt is not there, not finished or damaged"):
        read_artifact(tmp_path / "one")
    assert made_anew(stage)
    assert StageStore().load(stage)


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def make(_on_step: OnStep) -> dict[str, Any]:
        raise ZeroDivisionError

    stage = Stage(name="one", path=tmp_path / "one", settings={}, needs=(), make=make)
    with pytest.raises(ZeroDivisionError):
        made_anew(stage)
    assert not stage.file.exists()
    assert not stage.record.exists()


def test_a_record_without_its_file_or_with_another_s_is_not_current(tmp_path: Path) -> None:
    """Killed between the file and the record: the file is the new one, the record the old one."""
    stage, _ = counted(tmp_path, "one")
    made_anew(stage)
    other, _ = counted(tmp_path, "other")
    made_anew(other)
    made_anew(Stage(name="other", path=tmp_path / "other", settings={"rate": 2}, needs=(), make=other.make))
    stage.file.write_bytes(other.file.read_bytes())
    assert StageStore().checksum(stage) is None


@pytest.mark.parametrize(
    "record",
    ["", "{}", "[" * 100_000, "5", '{"settings": 5, "needs": {}, "checksum": ""}', '{"settings": {}, "needs": {}}'],
    ids=range(6),
)
def test_a_stage_with_a_damaged_record_is_made_again(record: str, tmp_path: Path) -> None:
    stage, made = counted(tmp_path, "one")
    made_anew(stage)
    stage.record.write_text(record)
    assert StageStore().checksum(stage) is None
    with pytest.raises(StageError, match=r"one\.pt is not there, not finished or damaged"):
        read_settings(stage.path)
    assert made_anew(stage)
    assert len(made) == 2


def test_a_stage_whose_needs_are_missing_names_them(tmp_path: Path) -> None:
    first, _ = counted(tmp_path, "first")
    second, made = counted(tmp_path, "second", first)
    with pytest.raises(StageError, match=r"second needs first, not made yet"):
        made_anew(second)
    assert not made


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"one: the disk of .* is full.*finished stages are kept"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), r"one: the GPU ran out of memory.*Lower the batch"),
    ],
)
def test_what_hardware_runs_out_of_is_said_with_the_remedy(tmp_path: Path, error: Exception, complaint: str) -> None:
    def make(_on_step: OnStep) -> dict[str, Any]:
        raise error

    with pytest.raises(StageError, match=complaint):
        made_anew(Stage(name="one", path=tmp_path / "one", settings={}, needs=(), make=make))


def test_the_record_says_what_the_artifact_was_made_from(tmp_path: Path) -> None:
    first, _ = counted(tmp_path, "first")
    second, _ = counted(tmp_path, "second", first, settings={"rates": (1, 2), "file": Path("x")})
    for stage in (first, second):
        made_anew(stage)
    record = json.loads(second.record.read_text())
    assert record["settings"] == {"rates": [1, 2], "file": "x"}
    assert record["needs"] == {"first": json.loads(first.record.read_text())["checksum"]}
    assert record["versions"]["torch"] == version("torch")


def test_needs_come_first_and_each_once(tmp_path: Path) -> None:
    first, _ = counted(tmp_path, "first")
    left, _ = counted(tmp_path, "left", first)
    right, _ = counted(tmp_path, "right", first)
    last, _ = counted(tmp_path, "last", left, right)
    assert [stage.name for stage in in_order([last, first])] == ["first", "left", "right", "last"]
