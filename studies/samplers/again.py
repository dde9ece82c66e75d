"""Trains what the searches of studies.samplers.run have found again, with seeds that no search used.

    python -m studies.samplers.again --data FIELD --cache CACHE [--shard K/N]

Of each search the front after 100 candidates, as its own model gives it; all searches must have come so far. Adds a row
for each architecture and seed to again.csv, so the command may be stopped and given again.
"""

from dynacp.student.architecture import Architecture
from studies.samplers.compare import AGAIN, COMPARED_AT, own_front
from studies.samplers.run import ROWS, Trainer
from studies.sharing import share, study_parser

FRESH = (1_000, 1_001)


def main() -> None:
    options = study_parser(__doc__, teachers=False).parse_args()
    found = set[str]()
    for _, search in ROWS.read().groupby(["sampler", "seed"]):
        found.update(own_front(search.sort_values("number"), COMPARED_AT)["architecture"])
    trainer, done = Trainer.on(options), AGAIN.done()
    for seed, text in share([(seed, text) for seed in FRESH for text in sorted(found)], options):
        if (text, seed) not in done:
            AGAIN.keep({"architecture": text, "seed": seed, **trainer(Architecture.from_json(text), seed=seed)})


if __name__ == "__main__":
    main()
