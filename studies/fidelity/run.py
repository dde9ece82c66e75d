"""Does a short score rank architectures as the full training does? Some of the pool, trained in full and tested.

    python -m studies.fidelity.run --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Trains the base student of each chosen architecture as studies/training does, with its teachers, and takes its macro
accuracy on the test split as the truth. Every model is a stage of a run under runs/fidelity, so the command may be
stopped and given again, and shards may run side by side. Writes full.csv (a row per architecture), and ranks.md and
ranks.png from it.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from scipy.stats import kendalltau

from dynacp.audio.dataset import GENERAL
from dynacp.pictures import new_figure, save_figure
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import Plan
from dynacp.pipeline.runner import make_in_turn, stages_of
from dynacp.stages import in_order
from dynacp.student.architecture import Architecture
from dynacp.training.loop import macro_accuracy, predict
from nas.space.counting import count
from studies.pool.run import SCORES, read_pool
from studies.sharing import Rows, share, study_parser
from studies.training import run as training

HERE, RUNS = Path(__file__).parent, Path("runs/fidelity")
SETTINGS = replace(training.SETTINGS, base=replace(training.SETTINGS.base, epochs=8))
"""Those of the training study, but for the base student's 15 epochs: 8 are what the machine had time for."""

BAND, SPREAD, IN_BAND = 0.9, 36, 31
"""The band begins at this share of Table 1's MACs; architectures over all of the pool, and within its band."""

RESAMPLES = 2_000
FULL = Rows(HERE / "full.csv", ["layout"])


def main() -> None:
    options = study_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    pool = read_pool()
    costs = pd.DataFrame(count(pool)._asdict())
    spread, band = chosen(costs)
    first = planned(options, pool[0], 0)
    make_in_turn(first, share(stages_of(first, "teachers"), options), lambda *_: None)
    for layout in share(dict.fromkeys([*spread, *band]), options):
        if (layout,) not in FULL.done():
            started = time.perf_counter()
            accuracy = tested(planned(options, pool[layout], layout))
            FULL.keep({"layout": layout, "accuracy": accuracy, "seconds": time.perf_counter() - started})
            print(f"layout {layout}: {accuracy:.1%}", flush=True)
    compare(costs, {"spread over the space": spread, "within 10 % of Table 1's MACs": band})


def chosen(costs: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Layouts spread evenly over the pool's MACs, and some of the band; Table 1, number 0, in both."""
    by_macs = costs["macs"].drop(0).sort_values().index.to_numpy()
    spread = [0, *by_macs[np.linspace(0, len(by_macs) - 1, SPREAD - 1).astype(int)].tolist()]
    band = costs.index[costs["macs"] >= BAND * costs["macs"].iloc[0]].tolist()
    return spread, sorted(band, key=lambda layout: layout not in spread)[:IN_BAND]


def planned(options: argparse.Namespace, layout: Architecture, number: int) -> Pipeline:
    """The training of an architecture; all share their teachers."""
    settings = replace(SETTINGS, teachers=replace(SETTINGS.teachers, mn=options.mn))
    return Pipeline(
        Plan(
            architecture=layout,
            settings=settings,
            data=options.data,
            run=RUNS / str(number),
            teachers=RUNS / "teachers",
            cache=options.cache,
        )
    )


def tested(pipeline: Pipeline) -> float:
    """Macro accuracy on the test split of the base student, trained in full; in float32, which a CPU is quicker at."""
    make_in_turn(pipeline, in_order([pipeline.student(GENERAL)]), lambda *_: None)
    test = pipeline.dataset.test
    features = pipeline.dataset.test_features(np.arange(len(test)))
    return macro_accuracy(predict(pipeline.load_student(GENERAL), features), test.labels)


def compare(costs: pd.DataFrame, groups: dict[str, list[int]]) -> None:
    """Kendall's tau of each predictor with the full training, and less that of MACs, with 95 % intervals."""
    scores = pd.read_csv(SCORES)
    short = scores[scores["seed"] == 0].pivot(index="layout", columns="samples", values="accuracy")
    table = costs.join(short).join(FULL.read().set_index("layout")["accuracy"]).dropna()
    rows = []
    for group, layouts in groups.items():
        members = table.loc[table.index.intersection(layouts)]
        taus = {predictor: ranked(members, predictor) for predictor in [*short.columns, "macs", "parameters"]}
        for predictor, drawn in taus.items():
            name = predictor if isinstance(predictor, str) else f"score after {predictor:,} samples"
            beyond = drawn - taus["macs"]
            rows.append(
                {"group": group, "layouts": len(members), "predictor": name}
                | dict(zip(("tau", "low", "high"), _interval(drawn), strict=True))
                | dict(zip(("beyond", "beyond low", "beyond high"), _interval(beyond), strict=True))
            )
    ranks = pd.DataFrame(rows)
    draw(ranks)
    written = ranks[["group", "layouts", "predictor"]].assign(
        **{
            "tau": [_written(*row) for row in ranks[["tau", "low", "high"]].to_numpy()],
            "less that of MACs": [_written(*row) for row in ranks[["beyond", "beyond low", "beyond high"]].to_numpy()],
        }
    )
    text = written.to_markdown(index=False)
    (HERE / "ranks.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def ranked(members: pd.DataFrame, predictor: str | int) -> np.ndarray:
    """Tau with the full training, and the same over resampled architectures, alike for every predictor."""
    rng, values = np.random.default_rng(0), members[[predictor, "accuracy"]].to_numpy().T
    draws = [np.arange(len(members)), *rng.integers(0, len(members), (RESAMPLES, len(members)))]
    return np.array([kendalltau(values[0, draw], values[1, draw]).statistic for draw in draws])


def _interval(drawn: np.ndarray) -> tuple[float, float, float]:
    """The value itself, and the 2.5th and 97.5th percentile of the resampled ones."""
    low, high = np.nanpercentile(drawn[1:], [2.5, 97.5])
    return float(drawn[0]), float(low), float(high)


def _written(value: float, low: float, high: float) -> str:
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def draw(ranks: pd.DataFrame) -> None:
    figure = new_figure(9, 3.4)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (group, rows) in zip(panels, ranks.groupby("group", sort=False), strict=True):
        reach = [rows["tau"] - rows["low"], rows["high"] - rows["tau"]]
        axes.errorbar(rows["tau"], rows["predictor"], xerr=reach, fmt="o", color="#1f3a93", capsize=3)
        axes.axvline(0, color="#555555", lw=1)
        axes.set_title(f"{group} ({rows['layouts'].iloc[0]} layouts)", loc="left", fontsize=10.5)
        axes.set_xlabel("Kendall's tau with the full training")
        axes.grid(alpha=0.25)
    panels[0].invert_yaxis()
    sns.despine(figure)
    save_figure(figure, HERE / "ranks.png", dpi=140)


if __name__ == "__main__":
    main()
