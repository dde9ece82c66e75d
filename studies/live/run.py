"""Does the default way of searching find more than chance does, live? Searches on the pocket set, each of equal cost.

    python -m studies.live.run --data POCKET --mn mn04_as_mAP_432.pt --cache CACHE [--shard K/N]

Every search is one of `python -m nas.search`'s, with its worker, storage and trainings, but ends when these have taken
COST samples. The front that it found is judged as in ../replay: trained again with 8,192 samples and a seed that
no search used. Searches are kept under runs/live, so the command may be stopped and given again. Writes fronts.csv (a
row per architecture that a search found), and searches.md from it.
"""

from contextlib import chdir
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, with_classes
from nas.scoring.score import SAMPLES, Scorer
from nas.space.space import Space
from nas.strategy.propose import Rules, combined_seed
from nas.study.settings import StudySettings
from nas.study.store import Store, connect, default_storage, study_folder
from nas.study.worker import SearchPlan, Worker
from studies.optunas import COMPARED
from studies.replay.run import JUDGED, MEASURES, picked, share_of_box
from studies.sharing import Rows, reach, scorer, share, study_parser

HERE, RUNS = Path(__file__).resolve().parent, Path("runs/live")
COST = 100_000
SAMPLERS_COMPARED, SEEDS = ("tpe", "random"), range(3)
JUDGE_SEED = combined_seed(2026, JUDGED)
FRAME, LIMITS = with_classes(TABLE1, 10), Limits()


@dataclass(frozen=True)
class Search:
    sampler: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.sampler}-{self.seed}"


def main() -> None:
    options = study_parser(__doc__).parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scoring = scorer(options)
    rows = Rows(HERE / "fronts.csv", ["sampler", "seed", "candidate"])
    RUNS.mkdir(parents=True, exist_ok=True)
    with chdir(RUNS):  # studies/ is there
        for seed, sampler in share(product(SEEDS, SAMPLERS_COMPARED), options):
            judge(Search(sampler, seed), scoring, rows)
    text = compared(rows.read()).to_markdown(index=False)
    (HERE / "searches.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def judge(search: Search, scoring: Scorer, rows: Rows) -> None:
    """Keep a row for each architecture of the search's front, but for those that have theirs."""
    store = searched(search, scoring)
    done = rows.done()
    for each in store.front():
        if (search.sampler, search.seed, each.number) not in done:
            judged = scoring(each.architecture, samples=JUDGED, seed=JUDGE_SEED).accuracy
            key = {"sampler": search.sampler, "seed": search.seed, "candidate": each.number}
            of = {"of": len(store.candidates), "macs": each.macs}
            rows.keep({**key, **of, "score": each.accuracy, "judged": judged})
            print(f"{search.name} #{each.number}: {each.accuracy:.1%}, judged {judged:.1%}", flush=True)


def searched(search: Search, scoring: Scorer) -> Store:
    """The search, from nothing or from where it was."""
    study_folder(search.name).mkdir(parents=True, exist_ok=True)
    storage = connect(search.name, default_storage(search.name))
    rules, data = Rules(Space(FRAME), LIMITS, "float16"), scoring.data
    settings = StudySettings.of(
        data=data.key, device="cpu", seed=search.seed, sampler=search.sampler, rules=rules,
        teachers={}, score=scoring.settings, front_end=data.front_end,
        command=f"studies.live.run: {search.name}", classes=data.classes, clips={}, threads=1, versions={},
    )  # fmt: skip
    store = Store.create_or_resume(search.name, storage, settings)
    plan = SearchPlan(
        rules=rules,
        baseline=FRAME,
        sampler=COMPARED[search.sampler],
        samples=SAMPLES,
        trials=10_000,
        race=(),
        seed=search.seed,
    )
    if spent(store) < COST:
        for _ in Worker(plan, store, storage).search(scoring):
            if spent(store) >= COST:
                break
        print(f"{search.name}: {spent(store):,} samples", flush=True)
    return store


def spent(store: Store) -> int:
    """Training samples."""
    return sum(each.samples for each in store.candidates)


def compared(fronts: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, and the first sampler's difference by seed with 95 % intervals (Student's t)."""
    measured = pd.DataFrame(
        [
            {"sampler": key[0], "seed": key[1], "candidates": front["of"].iloc[0], "found": len(front), **judged(front)}
            for key, front in fronts.groupby(["sampler", "seed"])
        ]
    )
    rows = []
    for measure in ("candidates", "found", "best", *MEASURES):
        of_seed = measured.pivot(index="seed", columns="sampler", values=measure)
        ours, chance = (of_seed[sampler] for sampler in SAMPLERS_COMPARED)
        apart = (ours - chance).dropna()
        means = {sampler: f"{of_seed[sampler].mean():.4g}" for sampler in SAMPLERS_COMPARED}
        rows.append(
            {"": measure, **means, "difference": f"{apart.mean():+.3g} ± {reach(apart):.2g}", "searches": len(apart)}
        )
    return pd.DataFrame(rows)


def judged(front: pd.DataFrame) -> dict[str, float]:
    """The replays' measures of a front, and its best."""
    macs, accuracies = front["macs"].to_numpy(float), front["judged"].to_numpy(float)
    order = np.argsort(macs)
    return {
        "best": accuracies.max(),
        "hypervolume": share_of_box(list(zip(accuracies, macs, strict=True))),
        "picked": picked(macs[order], accuracies[order]),
    }


if __name__ == "__main__":
    main()
