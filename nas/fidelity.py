"""Can the search's short trainings be trusted on these data? Some of its candidates, trained in full.

    python -m nas.fidelity --study NAME                    24 candidates of the search, from its worst to its best
    python -m nas.fidelity --study NAME --workers 2

Each is trained again: twice for the length of a trial, and `--seeds` times in full (`full_epochs`), on the search's own
data and with its teachers and settings, as they are stored with the study. Prints how each statistic of
a short training ranks the candidates, beside MACs alone, and writes fidelity.csv and fidelity.png into studies/NAME;
`nas.report` shows them. The full trainings are judged on the validation clips, as the accuracies of the short ones are,
which flatters these a little. The same command resumes, also after ^C.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import torch

from budget.cli.command import CommandParser, add_whole_number, answering, run
from budget.cli.terminal import show
from dynacp.files import write_text
from nas.results.fidelity import agreement, conclusion, spread, wanted
from nas.scoring.score import Scorer
from nas.search import Search, training_errors
from nas.search_options import parser, resuming
from nas.study.further import train_again
from nas.study.local_workers import helpers
from nas.study.queue import Queue
from nas.study.store import add_study_options, fidelity_study, opened_study
from nas.study.worker import POLL_SECONDS
from nas.views.figures import draw_fidelity
from nas.views.terminal import Screen, fidelity_table


@answering("Stopped. Finished trainings are kept; the same command resumes.")
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    own = CommandParser(prog="python -m nas.fidelity", description=__doc__)
    add_study_options(own.add_argument)
    add_whole_number(own.add_argument, "--layouts", 24, "candidates to train, with the baseline if it fits", lowest=4)
    add_whole_number(own.add_argument, "--seeds", 2, "full trainings of each")
    add_whole_number(own.add_argument, "--workers", 1, "processes on this machine, which share its cores")
    options = own.parse_args(arguments)
    with opened_study(options) as store:
        words, baseline = resuming(store.settings), store.settings.baseline
    asked = parser().parse_args([*words, "--study", options.study, "--workers", str(options.workers)])
    asked.storage = options.storage
    with training_errors(asked):
        search = Search(asked, Screen(), baseline)
        _check(search, options, words, sys.argv[1:] if arguments is None else arguments)


def _check(search: Search, options: argparse.Namespace, words: Sequence[str], arguments: Sequence[str]) -> None:
    """Train what is missing, and tell."""
    screen = search.screen
    store, storage, data, _ = search.opened(words)
    done = fidelity_study(store, storage)
    short, full = search.settings.recipe.samples, search.settings.full_epochs * len(data.training)
    chosen = spread(store.finished(), options.layouts)
    trainings = wanted(chosen, short=short, full=full, seeds=options.seeds, seed=search.options.seed)
    known, names = {each.number for each in store.candidates}, {each.number: each.name for each in chosen}

    def read() -> None:
        done.take(done.trials(), known)

    read()
    if done.missing(trainings):
        scorer: Scorer = search.scorer(store, data)
        torch.set_num_threads(search.threads)
        queue = Queue(done.study, storage, unique=("training",))
        with helpers("nas.fidelity", options.workers - 1, arguments, store.folder, screen.note):
            ran = train_again(
                lambda: done.missing(trainings), queue, scorer, read=read, wait=lambda *_: time.sleep(POLL_SECONDS)
            )
            for number, trained, accuracy in ran:
                left = sum(each.samples for _, each in done.missing(trainings))
                screen.note(f"{names[number]:>8}  {accuracy:6.1%} {trained.samples:6,} samples; {left:,} left")
    table = agreement(done, short=short, full=full)
    if not table.empty:
        show(screen.console, fidelity_table(table))
        write_text(store.folder / "fidelity.csv", table.to_csv(index=False))
        for path in draw_fidelity(store, table):
            screen.note(str(path))
    screen.note(conclusion(table, short=short))


if __name__ == "__main__":
    sys.exit(run(main))
