"""The model card beside exported files, with the sections that the Hugging Face hub expects."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from dynacp.files import written_whole
from dynacp.plan import read_run
from dynacp.predict import Student

TEMPLATE = Path(__file__).with_name("card.md")


def write_card(run: Path, folder: Path, *, waveform: bool) -> Path:
    """Of all files in a folder of exports."""
    exported: list[dict[str, Any]] = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    exported.sort(key=lambda each: (each["student"] != "base", each["student"]))
    student, settings = Student.load(run, exported[0]["student"]), read_run(run)["settings"]
    architecture = student.network.architecture
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        form=folder.name,
        students=exported,
        waveform=waveform,
        classes=student.classes,
        front_end=settings["front_end"],
        input=architecture.input,
        layers=architecture.table(),
        seed=settings["seed"],
        run_dtype=settings["dtype"],
        evaluation=_evaluation(run),
    )
    card = folder / "README.md"
    with written_whole(card) as partial:
        partial.write_text(text, encoding="utf-8")
    return card


def _evaluation(run: Path) -> str:
    """The students' rows of the run's own tables; empty for a run that has none."""
    try:
        systems, by_class = (pd.read_csv(run / f"table{number}.csv") for number in (2, 3))
    except FileNotFoundError:
        return ""
    students = systems[systems["model"].isin(["General", "Device-specific"])].drop(columns="system")
    return "\n\n".join(table.to_markdown(index=False) for table in (students, by_class))
