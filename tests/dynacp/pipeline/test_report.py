"""The report's tables."""

import numpy as np
import pandas as pd

from dynacp.pipeline import paper_figures
from dynacp.pipeline.report import cells, figures_of

MEASURES = ("accuracy", "real", "seen", "unseen", *paper_figures.TAU_CLASSES, "a", "s6", "s9")


def draws(value: float) -> pd.DataFrame:
    return pd.DataFrame({measure: np.append(value, np.linspace(value - 0.1, value + 0.1, 201)) for measure in MEASURES})


def test_on_tau_the_paper_s_figures_stand_beside_ours() -> None:
    figures = figures_of(
        {("general", "student"): draws(0.6), ("device-specific", "MN"): draws(0.7)}, paper_figures.TAU_CLASSES
    )
    students = cells(figures, "general", "student", ["accuracy", "bus", "a", "s9"])
    assert students == {
        "accuracy": "60.00 [50.5, 69.5] (59.00)",
        "bus": "60.00 [50.5, 69.5] (74.14)",
        "a": "60.00 [50.5, 69.5] (69.00)",
        "s9": "60.00 [50.5, 69.5]",
    }
    teachers = cells(figures, "device-specific", "MN", ["accuracy", "bus"])
    assert teachers == {"accuracy": "70.00 [60.5, 79.5] (61.83)", "bus": "70.00 [60.5, 79.5]"}


def test_elsewhere_ours_stand_alone() -> None:
    figures = figures_of({("general", "student"): draws(0.6)}, ("dog", "rain"))
    assert "report" not in figures
    assert cells(figures, "general", "student", ["accuracy"]) == {"accuracy": "60.00 [50.5, 69.5]"}
