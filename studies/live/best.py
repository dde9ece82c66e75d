"""Is the best architecture of all live searches better than Table 1? Both trained again, with seeds that chose nothing.

    python -m studies.live.best --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

The best is that with the highest judged accuracy in fronts.csv. Writes best.csv (a row per training, with 8,192
samples) beside this file, prints the difference seed by seed, and resumes.
"""

from contextlib import chdir
from itertools import product
from pathlib import Path

import pandas as pd

from dynacp.student.architecture import Architecture
from nas.strategy.propose import combined_seed
from nas.study.store import Store
from studies.live.run import FRAME, RUNS, Search
from studies.replay.run import JUDGED
from studies.sharing import Rows, reach, scorer, share, study_parser

HERE = Path(__file__).resolve().parent
SEEDS = range(6)


def main() -> None:
    options = study_parser(__doc__).parse_args()
    fronts, rows = pd.read_csv(HERE / "fronts.csv"), Rows(HERE / "best.csv", ["layout", "seed"])
    found = fronts.sort_values("judged").iloc[-1]
    search = Search(str(found["sampler"]), int(found["seed"]))
    with chdir(RUNS):
        best: Architecture = Store.open(search.name).candidates[int(found["candidate"])].architecture
    scoring = scorer(options)
    layouts = {"Table 1": FRAME, f"{search.name} #{found['candidate']}": best}
    for seed, (name, layout) in share(product(SEEDS, layouts.items()), options):
        if (name, seed) not in rows.done():
            accuracy = scoring(layout, samples=JUDGED, seed=combined_seed(2027, seed)).accuracy
            rows.keep({"layout": name, "seed": seed, "accuracy": accuracy})
            print(f"{name}, seed {seed}: {accuracy:.1%}", flush=True)
    of_seed = rows.read().pivot(index="seed", columns="layout", values="accuracy").dropna()
    apart = (of_seed[list(layouts)[1]] - of_seed["Table 1"]).dropna()
    print(of_seed.agg(["mean", "std"]).to_string())
    print(f"{best}: {apart.mean():+.2%} ± {reach(apart):.2%} against Table 1, {len(apart)} seeds")


if __name__ == "__main__":
    main()
