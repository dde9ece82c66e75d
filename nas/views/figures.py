"""The pictures of a study, as PNG and SVG in its folder; the functions that draw them return the files' paths."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynacp.pictures import new_figure, save_figure
from nas.results.fidelity import TRUSTED
from nas.results.finalists import Finalist, finalists, hypervolume_history
from nas.results.importance import IMPORTANCE_TRIALS, importance_grid, importance_of_the_rest, well_read
from nas.study.store import Store
from nas.views.colours import BASELINE_COLOUR, FRONT_COLOUR, LIMIT_COLOUR


def draw_pareto(store: Store) -> list[Path]:
    """Draw pareto.png and .svg in the study's folder: accuracy against MACs, with the front.

    Returns their paths. Raises `OSError`.
    """
    return _saved(store, "pareto", pareto_figure(store))


def draw_hypervolume(store: Store) -> list[Path]:
    """Draw hypervolume.png and .svg in the study's folder: how the front grew.

    Returns their paths. Raises `OSError`.
    """
    return _saved(store, "hypervolume", hypervolume_figure(store))


def draw_importance(store: Store) -> list[Path]:
    """Draw importance.png and .svg in the study's folder: how important each choice is for the ranking.

    Returns their paths; draws and returns none with fewer than `IMPORTANCE_TRIALS` candidates. Raises `OSError`.
    """
    if len(store.candidates) < IMPORTANCE_TRIALS:
        return []
    return _saved(store, "importance", importance_figure(store))


def draw_fidelity(store: Store, table: pd.DataFrame) -> list[Path]:
    """Draw fidelity.png and .svg in the study's folder: how statistics of short trainings rank as full ones do.

    `table` is as `nas.results.fidelity.agreement` gives it, not empty. Returns their paths. Raises `OSError`.
    """
    return _saved(store, "fidelity", fidelity_figure(store, table))


def fidelity_figure(store: Store, table: pd.DataFrame) -> Figure:
    """The picture of each statistic's tau with its 95 % interval.

    `table` is as `nas.results.fidelity.agreement` gives it, not empty.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    reach = [table["tau"] - table["low"], table["high"] - table["tau"]]
    axes.errorbar(table["tau"], table["statistic"], xerr=reach, fmt="o", color=BASELINE_COLOUR, capsize=3)
    axes.axvline(TRUSTED, color=LIMIT_COLOUR, ls="--", lw=1)
    axes.invert_yaxis()
    axes.set_xlabel("Kendall's tau with the full training, 95 %")
    axes.set_title(f"{store.folder.name}: what a short training tells", loc="left", weight="bold")
    axes.grid(alpha=0.25)
    sns.despine(ax=axes)
    return figure


def _saved(store: Store, name: str, figure: Figure) -> list[Path]:
    with store.publishing():
        return [save_figure(figure, store.folder / f"{name}.{kind}") for kind in ("png", "svg")]


def pareto_figure(store: Store) -> Figure:
    """The picture of accuracy against MACs: every candidate, the front, the limit, and the means of the finalists."""
    figure = new_figure(8.6, 6.0)
    axes = figure.subplots()
    results = store.results()
    results["MMACs"], results["percent"] = results["macs"] / 1e6, results["accuracy"] * 100
    limits = store.settings.limits
    others = results[results["candidate"] != 0]
    dots = axes.scatter(
        others["MMACs"], others["percent"], c=others["bytes"] / 1e3, cmap="viridis_r", vmin=0,
        vmax=limits.max_bytes / 1e3, s=26, alpha=0.75, linewidths=0, label="candidate, one short training",
    )  # fmt: skip
    front = results[results["front"]].sort_values("macs")
    axes.step(
        front["MMACs"],
        front["expected"] * 100,
        where="post",
        color=FRONT_COLOUR,
        lw=1.2,
        alpha=0.6,
        label="front, as expected from all trainings together",
    )
    axes.axvline(limits.max_macs / 1e6, color=LIMIT_COLOUR, ls="--", lw=1)
    axes.annotate(
        f"limit {limits.max_macs / 1e6:g} MMACs",
        (limits.max_macs / 1e6, 0.98),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        rotation=90,
        ha="left",
        va="top",
        fontsize=9,
        color=LIMIT_COLOUR,
    )
    entries = finalists(store)
    if (results["candidate"] == 0).any():
        _baseline(store, results.iloc[0], entries, axes)
    axes.figure.colorbar(dots, ax=axes, label=f"parameters, kB in {store.settings.dtype}", pad=0.01)
    axes.set(xlabel="MACs for one second of audio, millions", ylabel="validation macro accuracy, %")
    axes.set_title(f"{store.folder.name}: {len(results)} trained architectures", loc="left", weight="bold")
    axes.set_xlim(0, 1.06 * max(limits.max_macs / 1e6, results["MMACs"].max()))
    _finalists([entry for entry in entries if entry.candidate.number != 0], axes)
    axes.grid(alpha=0.25)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    sns.despine(ax=axes)
    return figure


def _baseline(store: Store, row: pd.Series, entries: list[Finalist], axes: Axes) -> None:
    """The baseline's search score, or its mean in the race's last round once there is one."""
    entry = next((entry for entry in entries if entry.candidate.number == 0), None)
    height = row["percent"] if entry is None else entry.mean * 100
    axes.errorbar(
        row["MMACs"], height, yerr=None if entry is None else entry.deviation * 100, fmt="*", ms=15,
        color=BASELINE_COLOUR, mec="white", capsize=3, zorder=5,
        label=store.settings.baseline.with_source + ("" if entry is None else ", in full, mean ± sd"),
    )  # fmt: skip


def _finalists(entries: list[Finalist], axes: Axes) -> None:
    if entries:
        axes.errorbar(
            [entry.candidate.macs / 1e6 for entry in entries], [entry.mean * 100 for entry in entries],
            yerr=[entry.deviation * 100 for entry in entries], fmt="D", ms=5.5, color=FRONT_COLOUR, mec="white",
            capsize=3, zorder=4, label=f"finalist in full, mean ± sd of {len(entries[0].accuracies)}",
        )  # fmt: skip
        middle, height = np.mean(axes.get_xlim()), 4
        for entry in entries:
            side = 1 if entry.candidate.macs / 1e6 < middle else -1  # towards the middle, where there is room
            axes.annotate(
                f"{entry.candidate.name}: {entry.claim}", (entry.candidate.macs / 1e6, entry.mean * 100),
                xytext=(7 * side, height), textcoords="offset points", ha="left" if side > 0 else "right",
                fontsize=8.5, color=FRONT_COLOUR,
            )  # fmt: skip
            height = 4 if height < 0 else -12  # neighbours on the front are close


def hypervolume_figure(store: Store) -> Figure:
    """The picture of the front's hypervolume against training samples."""
    figure = new_figure(7.2, 4.0)
    axes = figure.subplots()
    history = hypervolume_history(store)
    thousands = history["samples"] / 1e3
    axes.step(thousands, history["hypervolume"], where="post", color=FRONT_COLOUR, lw=1.6)
    axes.set(xlabel="training samples, thousands", ylabel="hypervolume, share of the box", xlim=(0, thousands.iloc[-1]))
    axes.set_title(f"{store.folder.name}: growth of the front", loc="left", weight="bold")
    axes.annotate(
        "box: from chance and the MAC limit to 100 % and 0 MACs; accuracies as expected from all trainings",
        (0.99, 0.03), ha="right", xycoords="axes fraction", fontsize=8.5, color=LIMIT_COLOUR,
    )  # fmt: skip
    axes.grid(alpha=0.25)
    sns.despine(ax=axes)
    return figure


def importance_figure(store: Store) -> Figure:
    """The picture of the importance of each choice of each block, in %; the title has that of network-wide choices.

    Choices that change few of the architectures are left blank: whatever share they have is noise, and says how much
    noise there is.
    """
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    shares = well_read(store)
    grid = importance_grid(store, shares)
    sns.heatmap(
        grid * 100, ax=axes, cmap="rocket_r", annot=True, fmt=".0f", linewidths=0.5, annot_kws={"fontsize": 8.5},
        cbar_kws={"label": "importance for the ranking, %"},
    )  # fmt: skip
    axes.tick_params(axis="both", rotation=0, labelsize=9)
    axes.set_title(
        f"{importance_of_the_rest(store, shares)};\n"
        f"choices that few architectures read, so noise: {1 - sum(shares.values()):.0%}",
        loc="left",
        weight="bold",
    )
    return figure
