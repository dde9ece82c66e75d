"""Which stages a plan has."""

from pathlib import Path

from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import PRESETS, Plan
from dynacp.pipeline.runner import stages_of
from dynacp.student.architecture import TABLE1


def test_a_teacher_that_left_out_no_clip_of_a_device_has_no_part_in_the_views_of_its_clips(
    data: Path, tmp_path: Path
) -> None:
    """The preset best, of devices with six clips: some of the eight parts hold none of them."""
    run, cache = tmp_path / "run", data.parent / "cache"
    pipeline = Pipeline(
        Plan(architecture=TABLE1, settings=PRESETS["best"], data=data, run=run, teachers=run / "teachers", cache=cache)
    )
    stages, devices = stages_of(pipeline, "device-views"), pipeline.dataset.devices
    assert len(stages) < len(pipeline.members) * len(devices)
    assert all(stage.steps > 0 for stage in stages)
    assert all(pipeline.lessons(device) for device in devices), "of each device's clips somebody speaks"
