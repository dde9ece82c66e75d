"""Run folders that were damaged, edited or put together by hand: a clear error, or what they say."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynacp.overrides import SettingError
from dynacp.pipeline.plan import RUN_FILE, TEACHERS, Plan, TrainingSettings, claim_run, read_plan
from dynacp.pipeline.prediction import Student
from dynacp.stages import Stage, StageError, StageStore, plain
from dynacp.student.architecture import TABLE1, Architecture

ANYTHING: st.SearchStrategy[object] = st.sampled_from(
    (None, True, -1, 10**30, 1e300, "", "x", "int8", "nan", "${oc.env:HOME}", "${a}", [], [1], [[[[]]]], {}, {"a": 1})
)


def claimed(run: Path, architecture: Architecture = TABLE1) -> str:
    """The text of the RUN/run.json that training with the default settings writes."""
    claim_run(
        Plan(
            architecture=architecture,
            settings=TrainingSettings(),
            data=run / "data",
            run=run,
            teachers=run / TEACHERS,
            cache=run / "cache",
        )
    )
    return (run / RUN_FILE).read_text()


def read(run: Path) -> Plan:
    return read_plan(run, run / "data", run / "cache")


def places(content: object) -> list[tuple[object, ...]]:
    """Where something stands in parsed JSON, as keys from the outside in."""
    inside = content.items() if isinstance(content, dict) else ()
    return [(), *((name, *place) for name, value in inside for place in places(value))]


def test_a_run_is_read_as_it_was_claimed(tmp_path: Path) -> None:
    claimed(tmp_path)
    assert (read(tmp_path).architecture, read(tmp_path).settings) == (TABLE1, TrainingSettings())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"dtype": "float16"', '"dtype": "bfloat16"'),
        lambda text: text.replace('"dtype": "float16"', '"dtype": ["float16"]'),
        lambda text: text.replace('"teachers": null', '"teachers": 5'),
        lambda text: text.replace('"responses": null', '"responses": {}'),
        lambda text: text.replace('"architecture"', '"settings": {}, "architecture"'),
        lambda text: json.dumps([text]),
        lambda text: json.dumps({**json.loads(text), "architecture": None}),
    ],
)
def test_a_damaged_run_file_is_named_with_what_mends_it(spoil: Callable[[str], str], tmp_path: Path) -> None:
    text = claimed(tmp_path)
    (tmp_path / RUN_FILE).write_text(spoil(text))
    with pytest.raises(StageError, match=r"is no run: it has no run\.json, or a damaged one; .* makes or mends it"):
        read(tmp_path)
    assert claimed(tmp_path) == text, "training mends it"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_whatever_stands_in_a_run_file_is_read_or_refused(drawn: st.DataObject, tmp_path: Path) -> None:
    content = plain({"architecture": TABLE1.to_json(), "settings": asdict(TrainingSettings()), "teachers": None})
    *outer, last = drawn.draw(st.sampled_from([place for place in places(content) if place]))
    inner = content
    for name in outer:
        inner = inner[name]
    inner[last] = drawn.draw(ANYTHING)
    (tmp_path / RUN_FILE).write_text(json.dumps(content))
    try:
        plan = read(tmp_path)
    except (StageError, SettingError) as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(plan.settings, TrainingSettings)


def test_what_is_whole_but_no_student_is_named(tmp_path: Path) -> None:
    claimed(tmp_path)
    StageStore().make(
        Stage(name="base", path=tmp_path / "students" / "base", settings={}, needs=(), make=lambda _: {"state": {}}),
        lambda: None,
    )
    with pytest.raises(StageError, match=r"students/base\.pt holds something else than a student"):
        Student.load(tmp_path, "base")
