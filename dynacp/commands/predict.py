"""`python -m dynacp predict`: the predictions of files and folders, as a table or as CSV."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.table import Table

from budget.cli.command import Add, answering
from budget.cli.terminal import complain, show
from dynacp.audio.reading import AudioError, UnusableAudioError, audio_files
from dynacp.files import is_output, written_whole
from dynacp.pipeline.prediction import Prediction, Predictor

EXIT_STATUS = (
    "Folders are searched for .wav, .flac and .ogg files. Exit status: 0 all files are predicted; 1 some could not be "
    "used, each is named on standard error, and all others are predicted; 2 bad input, or nothing was predicted; "
    "3 standard output could not be written; 130 stopped by ^C, what was predicted until then is written."
)
"""The end of this command's help."""

UNDECODED = "surrogateescape"
"""The error handler of encodings by which bytes in names of files that are no UTF-8 are written as they are."""


class PartlyPredictedError(AudioError):
    """Some files could not be used; the predictions of all others are written."""

    status: ClassVar[int] = 1
    """The exit status of a command that this error ends."""


def add_options(add: Add) -> None:
    """Add the options of `python -m dynacp predict`; `add` is `add_argument` of its parser."""
    add("run", type=Path, metavar="RUN", help="a folder that `train` wrote")
    add("wavs", type=_named, nargs="+", metavar="WAV", help="audio files, or folders of them")
    add("--device-id", metavar="ID", help="the recording device; its student predicts, the base for an unknown one")
    add("--csv", type=_named, metavar="FILE", help="write all probabilities there in place of a table")


def _named(text: str) -> Path:
    """The path of an argument; an empty name, as of a variable that is not set, would be the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file or a folder, such as . for this one")
    return Path(text)


@answering()
def run(options: argparse.Namespace, console: Console) -> None:
    """Predict the recordings that these options name (see `add_options`).

    `answering` makes it return the exit status, which says whether all could be predicted.
    """
    files = audio_files(options.wavs)
    if options.csv:
        _check_csv(options.csv, files, options.run)
    predictor = Predictor(options.run)
    student = predictor.student(options.device_id)
    with _to_csv(options.csv, student.classes) if options.csv else _to_table(console) as write:
        failed, stop = _predict_each(files, lambda file: write(predictor.predict(student, file)))
    for note in predictor.notes:
        print(note, file=sys.stderr)
    if options.csv and not is_output(options.csv):
        print(options.csv)
    if stop:
        raise stop
    if failed:
        raise PartlyPredictedError(f"{failed:,} of {len(files):,} files could not be used; all others are predicted.")


def _predict_each(files: list[Path], predict: Callable[[Path], None]) -> tuple[int, KeyboardInterrupt | None]:
    """How many files could not be used, and the ^C that came before the end.

    Raises, so that no output takes the place of an older one, where no file at all was predicted.
    """
    failed = 0
    for done, file in enumerate(files):
        try:
            predict(file)
        except UnusableAudioError as error:
            if len(files) == 1:
                raise
            complain(error)
            failed += 1
        except KeyboardInterrupt as stop:
            if done == failed:
                raise
            return failed, stop
    if failed == len(files):
        raise AudioError(f"none of the {failed:,} files could be used, so nothing is predicted.")
    return failed, None


def _check_csv(file: Path, inputs: list[Path], run: Path) -> None:
    """Raise `AudioError` for a place where no CSV can be written, before the work is done."""
    if file.is_dir():
        raise AudioError(f"`--csv {file}` is a folder; give the name of a file, such as {file / 'predictions.csv'}.")
    if not file.parent.is_dir():
        raise AudioError(f"`--csv {file}`: the folder {file.parent} does not exist.")
    if file.exists() and any(each.exists() and each.samefile(file) for each in inputs):
        raise AudioError(f"`--csv {file}` is one of the recordings; give another name.")
    if file.is_file() and file.resolve().is_relative_to(run.resolve()):
        raise AudioError(f"`--csv {file}` is a file of the run; give another name.")


@contextmanager
def _to_csv(file: Path, classes: tuple[str, ...]) -> Iterator[Callable[[Prediction], None]]:
    """Writes predictions as they come."""
    try:
        with written_whole(file) as partial, partial.open("w", encoding="utf-8", errors=UNDECODED, newline="") as out:
            rows = csv.writer(out, lineterminator="\n")
            rows.writerow(["file", "class", *classes])

            def write(prediction: Prediction) -> None:
                shares = (f"{share:.6f}" for share in prediction.probabilities.values())
                rows.writerow([prediction.file, prediction.best, *shares])

            yield write
    except OSError as error:
        raise AudioError(f"`--csv {file}` cannot be written ({error.strerror}); make room, or give another.") from None


@contextmanager
def _to_table(console: Console) -> Iterator[Callable[[Prediction], None]]:
    """Prints predictions at the end."""
    view = Table()
    for name in ("file", "class", "probability", "then"):
        view.add_column(name, justify="right" if name == "probability" else "left")

    def write(prediction: Prediction) -> None:
        (best, share), *others = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:2]
        view.add_row(str(prediction.file), best, f"{share:.3f}", *(f"{name} {less:.3f}" for name, less in others))

    yield write
    show(console, view)
