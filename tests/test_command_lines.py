"""Every command's options, choices and defaults are those that are written down in tests/frozen."""

import argparse
from importlib import import_module
from typing import Any

import frozen
import pytest

COMMANDS = {
    "budget": ("budget.__main__", [], ["table1"]),
    "dynacp.train": ("dynacp.__main__", ["train"], ["table1"]),
    "dynacp.predict": ("dynacp.__main__", ["predict"], ["RUN", "WAV"]),
    "dynacp.export": ("dynacp.__main__", ["export"], ["RUN", "--to", "onnx"]),
    "dynacp.efficientat": ("dynacp.efficientat.__main__", [], ["mn04_as_mAP_432"]),
    **{
        f"nas.{name}": (f"nas.{name}", [], [])
        for name in ("search", "plot", "report", "export", "explore", "fidelity", "design")
    },
}
"""Command -> module, subcommand, and the arguments that cannot be left out."""


class Parsed(Exception):  # noqa: N818
    """Ends a command line once its options are known."""


def usage(module: str, subcommand: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The first paragraph of the help, which names all options and their choices."""
    with pytest.raises(SystemExit):
        import_module(module).main([*subcommand, "--help"])
    return " ".join(capsys.readouterr().out.partition("\n\n")[0].split())


def defaults(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The value of every option that is not given, by name."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser, *given: Any) -> None:
        raise Parsed(parse(parser, *given))

    monkeypatch.setattr("argparse.ArgumentParser.parse_args", parsed)
    with pytest.raises(Parsed) as stop:
        import_module(module).main(arguments)
    values: dict[str, Any] = vars(stop.value.args[0])
    return {
        name: value if value is None or type(value) in (bool, int, float, str) else str(value)
        for name, value in values.items()
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_the_options_that_are_written_down(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    module, subcommand, needed = COMMANDS[command]
    told = usage(module, subcommand, capsys)
    found = {"usage": told, "defaults": defaults(module, [*subcommand, *needed], monkeypatch)}
    frozen.check(f"command_lines/{command}", found)
