"""How commands are declared and answered: numbers, errors, ^C, and the exit status of each."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget.cli.command import CommandParser, add_limit_options, answering, limits_of, whole_number
from budget.errors import UserError
from budget.limits import Limits


class OtherError(UserError):
    status = 7


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (
            UserError("file.json is no architecture; give another."),
            2,
            "error: file.json is no architecture; give another.\n",
        ),
        (OtherError("half of it."), 7, "error: half of it.\n"),
        (PermissionError(13, "Permission denied", "a.csv"), 2, "error: a.csv: Permission denied; try again.\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device; try again.\n"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_a_status(
    error: Exception, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @answering(advice="; try again.")
    def command() -> None:
        raise error

    assert command() == status
    assert capsys.readouterr() == ("", told)


def test_a_stop_is_told_with_what_becomes_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    @answering("Stopped; all is kept.")
    def command() -> None:
        raise KeyboardInterrupt

    assert command() == 130
    assert capsys.readouterr() == ("Stopped; all is kept.\n", "")


def test_a_fault_of_the_program_is_not_hidden() -> None:
    @answering()
    def command() -> None:
        raise ValueError("nobody's input")

    with pytest.raises(ValueError, match="nobody's input"):
        command()


def test_a_status_is_the_command_s_own_and_none_means_0() -> None:
    assert answering()(lambda: 1)() == 1
    assert answering()(lambda: None)() == 0


@given(st.integers(), st.integers(), st.integers())
def test_a_whole_number_is_taken_between_its_bounds_alone(value: int, one: int, other: int) -> None:
    lowest, highest = sorted((one, other))
    if lowest <= value <= highest:
        assert whole_number(lowest, highest)(str(value)) == value
    else:
        with pytest.raises(argparse.ArgumentTypeError, match=f"must be at (least|most) -?[0-9]+, but got {value}"):
            whole_number(lowest, highest)(str(value))


@pytest.mark.parametrize(("text", "value"), [("30e6", 30_000_000), ("1.5e3", 1_500), ("+7", 7)])
def test_whole_numbers_may_be_written_in_thousands_and_millions(text: str, value: int) -> None:
    assert whole_number(1)(text) == value


@pytest.mark.parametrize("text", ["1.5", "nan", "inf", "1e400"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be a whole number, but got {text}"):
        whole_number(1)(text)


@pytest.fixture
def limited() -> CommandParser:
    parser = CommandParser(prog="command")
    add_limit_options(parser.add_argument)
    return parser


@pytest.mark.parametrize("option", ["--max-macs", "--max-bytes", "--max-activation-bytes"])
@pytest.mark.parametrize("text", ["-1", "0", "x", "1e", "nan", "1e400", ""])
def test_a_limit_that_is_none_ends_with_status_2(
    text: str, option: str, limited: CommandParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        limited.parse_args([option, text])
    assert end.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_activations_have_a_limit_only_where_one_is_given(limited: CommandParser) -> None:
    assert limits_of(limited.parse_args([])) == Limits()
    given = ["--max-macs", "20e6", "--max-bytes", "64_000", "--max-activation-bytes", "400e3"]
    assert limits_of(limited.parse_args(given)) == Limits(64_000, 20_000_000, 400_000)
