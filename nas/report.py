"""One page about a search, to look at and to hand on: its front, its cost, what was tried, and how to get it again.

    python -m nas.report --study NAME

Writes studies/NAME/report.html, which needs no other file and no network.
"""

import argparse
import sys

import optuna

from budget.command import EXIT_STATUS, run
from budget.terminal import complain
from nas.study.store import Store, StudyError, add_study_options, clear_errors
from nas.views.page import write_page


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 2 no such study."""
    form = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m nas.report",
        description=__doc__,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_study_options(form)
    options = form.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with clear_errors(options.study):
            print(write_page(Store.open(options.study, options.storage)))
    except (StudyError, OSError) as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
