"""How far do architectures lie apart, against the noise between seeds? See the README beside this file.

    python studies/built-in/spread.py [--data PATH --mn FILE ...] > studies/built-in/spread.txt

Takes the options of `python -m nas.search` that say what a trial is. Ten architectures: Table 1, and nine that fit,
spread evenly over MACs among random ones. Each is trained with three seeds; the scores go to spread.csv beside this
file, and an architecture and seed that stand there already are not trained again.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from budget.ledger import totals
from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture, with_classes
from dynacp.student.layers import layers_of
from nas.scoring.score import Scorer
from nas.search import Search, parser
from nas.space.counting import sample_fitting
from nas.space.space import Space
from nas.views.terminal import Screen

LAYOUTS, SEEDS = 10, (0, 1, 2)


def spread_layouts(classes: int) -> list[Architecture]:
    frame = with_classes(TABLE1, classes)
    space = Space(frame)
    fitting = sample_fitting(space, Limits(), "float16", proposals=2_000, rng=np.random.default_rng(0))
    networks = sorted(
        (space.decode(choices) for choices in fitting.values()),
        key=lambda network: int(totals(layers_of(network)).macs),
    )
    return [frame, *(networks[index] for index in np.linspace(0, len(networks) - 1, LAYOUTS - 1).astype(int))]


def main() -> None:
    search, file = Search(parser().parse_args(), Screen()), Path(__file__).with_name("spread.csv")
    data = search.data(torch.device("cpu"))
    scorer = Scorer.from_ensemble(data, search.teachers_of(data), search.settings.score)
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["layout"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for network in spread_layouts(len(data.classes)):
            if (str(network), seed) not in done:
                score, macs = scorer(network, seed=seed), int(totals(layers_of(network)).macs)
                rows.append({"layout": str(network), "macs": macs, "seed": seed, "accuracy": score.accuracy})
                pd.DataFrame(rows).to_csv(file, index=False)
                print(rows[-1], file=sys.stderr, flush=True)
    report(pd.DataFrame(rows))


def report(table: pd.DataFrame) -> None:
    scores = table.pivot(index=["macs", "layout"], columns="seed", values="accuracy")
    noise = float(np.sqrt(scores.var(axis=1, ddof=1).mean()))
    spread = float(scores.mean(axis=1).std(ddof=1))
    print((scores.assign(mean=scores.mean(axis=1)) * 100).round(1).reset_index("layout", drop=True).to_string())
    print(f"noise between seeds (pooled sd): {noise:.2%}; spread of the layouts' means (sd): {spread:.2%}")
    print(f"ratio: {spread / noise:.2f}")


if __name__ == "__main__":
    main()
