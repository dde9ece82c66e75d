"""The command line of a search: its options, the settings that they make, and the options that resume a study."""

import argparse
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from budget.cli.command import Add, CommandParser, add_limit_options, add_whole_number
from budget.dtypes import DEFAULT_DTYPE, DTYPES
from dynacp.commands.options import add_cache_option, add_checkpoint_options, add_data_option, add_device_option
from dynacp.overrides import changed
from dynacp.settings import named, require
from nas.scoring.score import SAMPLES, SHORT, TEACHERS, SearchSettings
from nas.space.network_wide import NONE, add_vary_option
from nas.strategy.samplers import SAMPLERS
from nas.study.settings import DEFAULT_MARGIN, StudyError, StudySettings

SAMPLER_HELP = (
    "what proposes candidates. model: what a Gaussian process of the scores so far expects to add most to the front; "
    "local: one choice of a network on the front made otherwise; random (default: %(default)s)"
)
"""The help of `--sampler`."""

MARGIN_HELP = "of accuracy that a network may lose against the baseline and count as not worse (default: %(default)g)"
"""The help of `--margin`."""

BASELINE_HELP = (
    "the network to beat, in the space or not, within the limits or not: table1 (the default) or a JSON file"
)
"""The help of `--baseline`."""


def parser(description: str | None = None) -> CommandParser:
    """The parser of `python -m nas.search`, whose help begins with `description`."""
    parser = CommandParser(prog="python -m nas.search", description=description)
    _add_study_options(parser.add_argument_group("the study").add_argument)
    _add_trial_options(parser.add_argument_group("a trial and its limits").add_argument)
    _add_teacher_options(parser.add_argument_group("the teachers").add_argument)
    return parser


def _add_study_options(add: Add) -> None:
    add_data_option(add, "a data set in TAU's layout")
    add("--study", default="search", metavar="NAME", help="kept under studies/NAME (default: %(default)s)")
    add("--storage", metavar="URL", help="a database for many machines, in place of SQLite in studies/NAME")
    add_whole_number(add, "--trials", 200, "candidates in all, the baseline among them")
    add("--baseline", metavar="ARCH", default="table1", help=BASELINE_HELP)
    add_whole_number(add, "--workers", 1, "processes on this machine, which share its cores")
    add(
        "--sampler",
        choices=sorted(SAMPLERS),
        default="model",
        help=SAMPLER_HELP,
    )
    add_vary_option(add)
    add_whole_number(add, "--seed", 0, "random seed of the whole search", lowest=0, highest=2**32 - 1)
    add_whole_number(add, "--race", 24, "what the race at the end may cost, in full trainings; 0: no race", lowest=0)
    add("--margin", type=float, default=100 * DEFAULT_MARGIN, metavar="POINTS", help=MARGIN_HELP)
    add_device_option(add)
    add_cache_option(add, "log-mels and teachers")


def _add_trial_options(add: Add) -> None:
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings by the names that the search prints, such as full_epochs=8",
    )
    add_whole_number(add, "--samples", SAMPLES, "training samples of one trial", lowest=32)
    add_limit_options(add)
    add(
        "--dtype",
        choices=sorted(DTYPES),
        default=DEFAULT_DTYPE,
        help="of the parameters at inference (default: %(default)s)",
    )


def _add_teacher_options(add: Add) -> None:
    add_checkpoint_options(add)
    for name, width in (("--mn-width", TEACHERS.mn_width), ("--dymn-width", TEACHERS.dymn_width)):
        add(
            name,
            type=float,
            default=width,
            metavar="W",
            help="of teachers that start without a checkpoint (default: %(default)s)",
        )
    add_whole_number(add, "--teacher-epochs", TEACHERS.epochs, "of the teachers' fine-tuning")


def settings_of(options: argparse.Namespace) -> SearchSettings:
    """All numbers of a search, from options that `parser` gave. Raises `SettingError` for those that cannot be."""
    teachers = replace(
        TEACHERS,
        mn=options.mn,
        dymn=options.dymn,
        mn_width=options.mn_width,
        dymn_width=options.dymn_width,
        epochs=options.teacher_epochs,
    )
    settings = changed(SearchSettings(teachers, replace(SHORT, samples=options.samples)), options.set)
    recipe = settings.recipe
    require(recipe.samples >= recipe.batch, "--samples", recipe.samples, f"at least a batch of {recipe.batch}")
    return settings


OF_THEIR_OWN = ("recipe.samples", "teachers.epochs")
"""Settings that options of their own set, whose values a stored command line names."""


def resuming(study: StudySettings) -> list[str]:
    """The options of `python -m nas.search` that resume a study, whatever has become of the defaults since.

    They are those that it was made with but for `--trials`, and `--set` for each setting whose default is another one
    today. Raises `StudyError` for a stored command line that is damaged.
    """
    try:
        words = shlex.split(study.command)[3:]
    except ValueError as error:
        raise StudyError(f"the study's command cannot be read ({error}): it is damaged.") from None
    for index in reversed([index for index, word in enumerate(words) if word.partition("=")[0] == "--trials"]):
        del words[index : index + (1 if "=" in words[index] else 2)]
    stored = dict(_flat({"teachers": study.identity["teachers"], **study.identity["score"]}))
    given = {word.partition("=")[0] for word in words}
    changes = [
        f"{name}={stored[name]}"
        for name, value, _ in named(SearchSettings())
        if name not in {*OF_THEIR_OWN, *given} and stored.get(name, value) != value
    ]
    unvaried = [] if study.network_wide or "--vary" in words else ["--vary", NONE]
    return [*words, *unvaried, *(["--set", *changes] if changes else [])]


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every entry that is no mapping itself."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
