"""Train an architecture's seven models, predict with them, and export them.

    python -m dynacp train table1                                        the built-in scenes, in minutes
    python -m dynacp train ARCH --data TAU --mn mn10_as_mAP_471.pt --dymn dymn10_as.pt --device cuda
    python -m dynacp predict RUN recordings/ --device-id a
    python -m dynacp export RUN --to onnx|int8|executorch                its students, for a device's runtime
    python -m dynacp export RUN... --to dcase --name Team_Lab            all of them, for the challenge

Training prints all its settings with their sources, may be stopped at any moment, and goes on with the same command.
"""

import sys

from budget.cli.command import CommandParser, run
from budget.cli.terminal import console
from dynacp.commands import export, predict, train


def parser() -> CommandParser:
    """The parser of `python -m dynacp` and of its three commands."""
    parser = CommandParser(prog="python -m dynacp", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    added = commands.add_parser("train", help="teachers, base student and device students, resumable")
    train.add_options(added.add_argument)
    added = commands.add_parser("predict", help="class probabilities of recordings", epilog=predict.EXIT_STATUS)
    predict.add_options(added.add_argument)
    added = commands.add_parser(
        "export",
        help="the students for a device's runtime or the challenge, counted and compared again",
        description=export.__doc__,
        epilog=None,
    )
    export.add_options(added.add_argument)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command with `arguments` (None: those of the process); returns the exit status."""
    options, out = parser().parse_args(arguments), console()
    command = {"train": train.run, "predict": predict.run, "export": export.run}
    return command[options.command](options, out)


if __name__ == "__main__":
    sys.exit(run(main))
