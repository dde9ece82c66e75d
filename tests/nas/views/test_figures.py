"""The pictures of a study and of a space show what they are about: marks, limits, labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import add_race, scored, stored
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from budget.limits import Limits
from dynacp.student.architecture import TABLE1
from nas.results.importance import IMPORTANCE_TRIALS
from nas.space.feasible import Feasible
from nas.space.overview import margins
from nas.space.space import Space, encodings
from nas.strategy.propose import Proposal, Rules
from nas.study.store import Store
from nas.views.exploration import margins_figure, space_figure
from nas.views.figures import draw_pareto, hypervolume_figure, importance_figure, pareto_figure

SMALL = Space(min_blocks=1, max_blocks=2, dilations=(1, 2), expansions=(1.5, 2.1), widths=(16, 32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Table 1 and four architectures; Table 1 and one other are finalists."""
    made = stored(tmp_path, [0.5, 0.9, 0.4, 0.95, 0.3])
    for number, scores in ((0, (0.50, 0.52)), (3, (0.60, 0.66))):
        add_race(made, number, dict(enumerate(scores)))
    return made


def marks(axes: Axes) -> list[np.ndarray]:
    """The points of each scatter, [points, 2]."""
    points = [np.asarray(drawn.get_offsets()) for drawn in axes.collections]
    return [each for each in points if len(each)]


def lines(axes: Axes, label: str) -> list[np.ndarray]:
    """The points of the lines whose legend begins so, [points, 2]."""
    named: dict[str, Any] = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    found = [handle for name, handle in named.items() if name.startswith(label)]
    return [np.asarray((each[0] if isinstance(each, tuple) else each).get_xydata()) for each in found]


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_front_s_picture_marks_every_candidate_the_limit_and_the_finalists(store: Store) -> None:
    figure = pareto_figure(store)
    axes, colours = figure.axes
    points = [(candidate.macs / 1e6, candidate.accuracy * 100) for candidate in store.candidates]
    np.testing.assert_allclose(marks(axes)[0], points[1:])
    ((star,),) = lines(axes, "Table 1 (DynaCP paper), in full")
    assert star == pytest.approx((points[0][0], 51))
    ((diamond,),) = lines(axes, "finalist in full")
    assert diamond == pytest.approx((points[3][0], 63))
    assert "limit 30 MMACs" in texts(figure)
    assert "#3" in texts(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "MACs for one second of audio, millions",
        "validation macro accuracy, %",
    )
    assert colours.get_ylabel() == "parameters, kB in float16"


def test_before_the_race_table_1_stands_at_its_search_score(tmp_path: Path) -> None:
    axes = pareto_figure(stored(tmp_path, [0.5, 0.9])).axes[0]
    ((star,),) = lines(axes, "Table 1 (DynaCP paper)")
    assert star[1] == pytest.approx(50)
    assert not lines(axes, "finalist")


def test_the_growth_s_picture_ends_with_the_last_candidate(store: Store) -> None:
    (axes,) = hypervolume_figure(store).axes
    (line,) = axes.lines
    x, y = np.asarray(line.get_xydata()).T
    assert x.max() == pytest.approx(0.005), "five trainings of one sample each, in thousands"
    assert (np.diff(y) >= 0).all()
    assert axes.get_xlabel() == "training samples, thousands"


def test_the_importance_s_picture_has_a_cell_for_each_choice_of_each_block(tmp_path: Path) -> None:
    made = stored(tmp_path, [0.5])
    rules = Rules(Space(), Limits(), "float16")
    for number, choices in enumerate(encodings(rules.space.sample(2 * IMPORTANCE_TRIALS, np.random.default_rng(0))), 1):
        proposal = Proposal.of(rules.space.decode(choices), rules)
        made.study.add_trial(scored(number, rules, proposal, choices["blocks"] / 10).trial)
    made.read()
    axes = importance_figure(made).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"block {number}" for number in range(1, 9)]
    assert [text.get_text() for text in axes.get_yticklabels()][1:] == ["width", "expansion", "dilation"]


def test_pictures_are_written_as_png_and_svg_and_alike_each_time(store: Store) -> None:
    png, svg = draw_pareto(store)
    assert imread(png).shape[:2] == (960, 1376), "8.6 x 6 inches at 160 dots"
    first = svg.read_bytes()
    draw_pareto(store)
    assert svg.read_bytes() == first


def test_the_space_s_picture_shows_both_limits_and_where_the_architecture_stands() -> None:
    architecture = SMALL.decode(next(encodings(SMALL.sample(1, np.random.default_rng(0)))))
    figure = space_figure(Feasible(SMALL, Limits()), architecture, "mine")
    for axes, limit in zip(figure.axes, (30, 128), strict=True):
        assert limit in [line.get_ydata()[0] for line in axes.lines]  # type: ignore[index]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2"]
    assert lines(figure.axes[0], "mine")


def test_both_pictures_show_the_limit_of_activations_where_there_is_one() -> None:
    feasible = Feasible(Space(max_blocks=6), Limits(max_activation_bytes=659_456))
    changes = margins(TABLE1, feasible)
    (axes,) = margins_figure(changes, feasible, TABLE1, "table1").axes
    (crosses,) = lines(axes, "over the limit of activations")
    assert len(crosses) == (changes["activation_bytes"] > 659_456).sum() > 0
    limited = Feasible(SMALL, Limits(max_activation_bytes=600_000))
    architecture = limited.sample(2, 1, np.random.default_rng(0))[0]
    *_, axes = space_figure(limited, architecture, "mine").axes
    assert axes.get_ylabel() == "kB of activations in float16"
    assert 600 in [line.get_ydata()[0] for line in axes.lines]  # type: ignore[index]


def test_the_picture_of_single_changes_marks_each_that_costs_something() -> None:
    feasible = Feasible(Space(), Limits())
    changes = margins(TABLE1, feasible)
    (axes,) = margins_figure(changes, feasible, TABLE1, "table1").axes
    (dots,) = marks(axes)
    assert len(dots) == (~changes["choice"].str.startswith("dilation")).sum()
    assert axes.get_title(loc="left") == "One choice of table1 changed"
