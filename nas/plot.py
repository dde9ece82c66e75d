"""Pictures of a study: accuracy against MACs, hypervolume over trials, the importance of each choice.

    python -m nas.plot --study NAME

The search draws the first itself; this redraws it from the study and adds the others.
"""

import argparse
import sys

import optuna

from budget.command import EXIT_STATUS, run
from budget.terminal import complain
from nas.study.store import Store, StudyError, add_study_options, clear_errors
from nas.views.figures import IMPORTANCE_TRIALS, draw_hypervolume, draw_importance, draw_pareto


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 2 no such study."""
    form = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m nas.plot",
        description=__doc__,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_study_options(form)
    options = form.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with clear_errors(options.study):
            store = Store.open(options.study, options.storage)
            for path in [*draw_pareto(store), *draw_hypervolume(store), *draw_importance(store)]:
                print(path)
    except (StudyError, OSError) as error:
        complain(error)
        return 2
    if len(store.candidates) < IMPORTANCE_TRIALS:
        print(f"importance: not drawn, {len(store.candidates)} trained trials are too few (from {IMPORTANCE_TRIALS})")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
