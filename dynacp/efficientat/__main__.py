"""Fetch an official EfficientAT checkpoint, check it tensor by tensor, and print where it lies.

A file that is already there is checked and kept; nothing is fetched then. A name reads as family (mn or dymn), width
in tenths, training set (as: AudioSet), and mean average precision there in thousandths. A wider network is a better
and a slower teacher.

Exit status: 0 the file is there, 2 it could not be had (the message then says what to do), 3 standard output could not
be written, 130 stopped.
"""

import sys
from pathlib import Path

from budget.cli.command import CommandParser, answering, run
from dynacp.efficientat.checkpoints import NAMES, RELEASE, fetch

EPILOG = f"""\
known names:
  {", ".join(NAMES[:5])},
  {", ".join(NAMES[5:9])},
  {", ".join(NAMES[9:])}

example:
  python -m dynacp.efficientat mn10_as_mAP_471 --folder checkpoints
  then pass  --mn checkpoints/mn10_as_mAP_471.pt  (a DyMN file: --dymn) where teachers are trained

The files come from {RELEASE}"""
"""The end of the help."""


def parser() -> CommandParser:
    """The parser of `python -m dynacp.efficientat`."""
    parser = CommandParser(prog="python -m dynacp.efficientat", description=__doc__, epilog=EPILOG)
    add = parser.add_argument
    add("name", metavar="NAME", help="one of the names below, without .pt")
    add(
        "--folder",
        type=Path,
        default=Path("checkpoints"),
        metavar="DIR",
        help="where the file is put; created if absent (default: %(default)s)",
    )
    return parser


@answering()
def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments` (None: those of the process); `answering` makes it return the exit status."""
    options = parser().parse_args(arguments)
    print(fetch(options.name, options.folder))


if __name__ == "__main__":
    sys.exit(run(main))
