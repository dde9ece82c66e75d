"""One page about a search, to look at and to hand on: its front, its cost, what was tried, and how to get it again.

    python -m nas.report --study NAME

Writes studies/NAME/report.html, which needs no other file and no network.
"""

import shlex
import sys

from budget.cli.command import CommandParser, answering, run
from nas.search_options import resuming
from nas.study.store import Store, add_study_options, opened_study
from nas.views.page import write_page


@answering()
def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, by default the process's; `answering` makes it return an exit status."""
    parser = CommandParser(prog="python -m nas.report", description=__doc__)
    add_study_options(parser.add_argument)
    options = parser.parse_args(arguments)
    with opened_study(options) as store:
        print(write_page(store, command(store)))


def command(store: Store) -> str:
    """The command line that resumes the study, with `--trials` set to the number of candidates that it has come to.

    Raises `StudyError` for a damaged one.
    """
    words = [*resuming(store.settings), "--trials", str(len(store.candidates))]
    return shlex.join(["python", "-m", "nas.search", *words])


if __name__ == "__main__":
    sys.exit(run(main))
