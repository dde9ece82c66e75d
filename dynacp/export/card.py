"""The model card of an export, with the sections that the Hugging Face hub expects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from budget.ledger import ledger
from dynacp.export.finished_run import CALIBRATION_CLIPS, TOLERATED, Trained
from dynacp.export.formats import ExportFormat
from dynacp.pipeline.plan import computed_in
from dynacp.student.layers import layers_of, table_of

TEMPLATE = Path(__file__).with_name("card.md")
"""The Jinja template of cards."""


def card(
    trained: Trained,
    students: Sequence[Mapping[str, Any]],
    *,
    title: str,
    format: ExportFormat,
    library: str,
    usage: str,
    adds_in_16_bits: bool = False,
) -> str:
    """The card as Markdown.

    Each of `students` holds the facts of one export, as `Export.facts` gives them. `title` is the export's name,
    `library` the Hugging Face hub's name of the runtime, `usage` Markdown that shows how to run the files.
    `adds_in_16_bits` is that of `RuntimeFile`. Raises `StageError` for a folder that is no run, and jinja2's
    `UndefinedError` for facts that lack what the template shows.
    """
    layers = layers_of(trained.base.network.architecture)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=trained.run,
        form=title,
        library=library,
        usage=usage.strip(),
        students=students,
        classes=trained.base.classes,
        sample_rate=trained.front_end.sample_rate,
        layers=table_of(trained.base.network.architecture),
        seed=trained.settings.seed,
        run_dtype=computed_in(trained.dtype),
        evaluation=_evaluation(trained.run),
        calibration_clips=CALIBRATION_CLIPS,
        tolerated=TOLERATED,
        adds_in_16_bits=adds_in_16_bits,
        counted=f"Convention `{format.target.convention.name}`: {format.target.convention.summary}.",
        ledger=[
            row
            for row in ledger(layers, convention=format.target.convention, dtype=format.dtype).rows
            if row.parameters
        ],
    )


def _evaluation(run: Path) -> str:
    """The students' rows of the run's own tables; empty for a run that has none, or damaged ones."""
    try:
        systems, by_class = (pd.read_csv(run / f"table{number}.csv") for number in (2, 3))
        students = systems[systems["model"].isin(["General", "Device-specific"])].drop(columns="system")
    except (FileNotFoundError, KeyError, ValueError):  # not there, or damaged
        return ""
    return "\n\n".join(table.to_markdown(index=False) for table in (students, by_class))
