"""Settings by name."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from rich.console import Console

from dynacp.overrides import changed, restored, settings_table
from dynacp.pipeline.plan import PRESET_SOURCES, PRESETS, TrainingSettings
from dynacp.settings import SettingError, named, sourced


@dataclass(frozen=True)
class Inner:
    rate: float = sourced(0.1, "a book")
    steps: int = 3


@dataclass(frozen=True)
class Outer:
    inner: Inner = sourced(Inner(steps=5), "a letter")
    file: Path | None = None


def test_every_setting_has_a_dotted_name_and_the_source_of_its_own_value() -> None:
    assert list(named(Outer())) == [("inner.rate", 0.1, "a book"), ("inner.steps", 5, "a letter"), ("file", None, "")]
    sources = {name: source for name, _, source in named(Outer(Inner(rate=0.2)))}
    assert sources["inner.rate"] == "a letter"  # no longer the book's value


def test_a_setting_is_changed_by_its_name_and_keeps_its_type() -> None:
    settings = changed(Outer(), ["inner.rate=1e-3", "file=some/where"])
    assert settings == Outer(Inner(rate=0.001, steps=5), Path("some/where"))
    assert changed(Outer(), []) == Outer()


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("inner.speed=3", r"no setting is named 'inner.speed'; there are inner.rate, inner.steps, file"),
        ("inner=3", r"no setting is named 'inner'"),
        ("inner.steps", r"give a value, as in inner.steps=VALUE"),
        ("inner.steps=few", r"`--set inner.steps=few`: Value 'few' of type 'str' could not be converted to Integer"),
    ],
)
def test_what_is_no_setting_or_no_value_is_refused(assignment: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        changed(Outer(), [assignment])


def test_a_setting_that_the_settings_themselves_refuse_is_refused() -> None:
    with pytest.raises(SettingError, match=r"`dtype` must be one of float32, float16, int8, but got 'int4'"):
        changed(TrainingSettings(), ["dtype=int4"])
    with pytest.raises(SettingError, match=r"`n_fft` must be even"):
        changed(TrainingSettings(), ["front_end.n_fft=4097"])


def test_stored_settings_come_back_as_they_were() -> None:
    settings = changed(TrainingSettings(), ["dtype=int8", "base.epochs=3", "teachers.mn=a/b.pt"])
    stored = json.loads(json.dumps(asdict(settings), default=str))
    assert restored(TrainingSettings(), stored) == settings
    with pytest.raises(SettingError, match=r"stored settings that this version does not know: .*'yesterday'"):
        restored(TrainingSettings(), stored | {"yesterday": 1})


def test_the_table_says_where_each_value_comes_from() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        settings, source = changed(PRESETS["quick"], ["base.epochs=7"]), PRESET_SOURCES["quick"]
        console.print(settings_table(settings, PRESETS["quick"], "Settings", preset_source=source))
    lines = [[cell.strip() for cell in line.split("│")] for line in captured.get().split("\n")]
    rows = {cells[1]: cells[2:4] for cells in lines if len(cells) > 3}
    assert rows["base.epochs"] == ["7", "given"]
    assert rows["base.batch"] == ["32", "preset quick: minutes on two cores"]
    assert rows["augmentation.mask_bands"] == ["48", "paper, section 2.2"]


def test_every_preset_has_a_source() -> None:
    assert PRESETS.keys() == PRESET_SOURCES.keys()


def test_every_default_of_a_full_training_has_a_source() -> None:
    assert [name for name, _, source in named(TrainingSettings()) if not source] == []
