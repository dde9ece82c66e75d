"""`python -m budget`."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from budget.__main__ import main
from budget.cli import terminal
from budget.conventions import CONVENTIONS
from dynacp.student.architecture import TABLE1


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_table_1_fits_and_shows_its_ledger_and_every_convention(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "table1")
    assert status == 0
    for text in ("28,938,900", "61,644", "123,288", "blocks.6.project", "29,496,672", "96.46%"):
        assert text in out
    for convention in CONVENTIONS.values():
        assert f"{convention.name}: {convention.summary}" in " ".join(out.split())
    assert "table1 fits, with 1,061,100 MACs and 4,712 bytes to spare." in out


def test_the_baseline_on_89_frames_is_over_and_says_which_layers_to_blame(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "baseline", "--frames", "89")
    assert status == 1
    assert "over by 9,526,036 MACs; the costliest layers: blocks.6.project" in out


def test_float32_doubles_the_bytes_and_breaks_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "table1", "--dtype", "float32", "--json")
    content = json.loads(out)
    assert status == 1
    assert content["bytes"] == 4 * 61_644
    assert content["bytes_over"] == 4 * 61_644 - 128_000


@pytest.mark.parametrize(("dtype", "held"), [("float32", 1_318_912), ("float16", 659_456), ("int8", 329_728)])
def test_activations_are_limited_in_the_dtype_at_inference(
    dtype: str, held: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("table1", "--dtype", dtype, "--max-bytes", "1e6")
    assert json.loads(run(capsys, *given, "--json")[1])["activation_bytes_over"] is None
    for limit, status in ((held, 0), (held - 1, 1)):
        arguments = (*given, "--max-activation-bytes", str(limit))
        ended, out, _ = run(capsys, *arguments, "--json")
        content = json.loads(out)
        assert (ended, content["fits"], content["activation_bytes_over"]) == (status, status == 0, held - limit)
        assert content["limits"]["max_activation_bytes"] == limit
        assert all(each["fits"] == (status == 0) for name, each in content["conventions"].items() if name == "dcase")
        ended, out, _ = run(capsys, *arguments)
        assert ended == status
        assert re.search(rf"bytes of activations\W+{held:,}\W+{limit:,}\W+100.00%\W+{limit - held}", out)
    assert "table1 over by 1 bytes of activations; activations take most at blocks.1.pool." in out


def test_int8_is_judged_folded_and_the_help_says_how_it_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Table 1 in `test_ledger`: 67,824 bytes. The baseline keeps the limit of MACs, but not once it is folded."""
    status, out, _ = run(capsys, "table1", "--dtype", "int8")
    assert status == 0
    assert "in int8, counted by the convention folded (the challenge's rule after each batch norm" in out
    assert "by the challenge's rule" not in out
    assert "table1 fits, with 503,328 MACs and 60,176 bytes to spare." in out
    status, out, _ = run(capsys, "baseline", "--dtype", "int8", "--json")
    content = json.loads(out)
    assert (status, content["fits"], content["convention"]) == (1, False, "folded")
    assert content["macs"] == sum(row["macs"] for row in content["rows"]) == 30_216_768
    assert content["conventions"]["dcase"]["fits"]
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "a weight of a kernel takes 1 byte" in " ".join(capsys.readouterr().out.split())


def test_json_holds_rows_that_add_up_and_witnesses_that_agree(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "table1", "--json", "--witness")
    content = json.loads(out)
    assert status == 0
    assert sum(row["macs"] for row in content["rows"]) == content["macs"] == 28_938_900
    for tool, witness in content["witnesses"].items():
        assert witness["macs"] == content["conventions"][witness["convention"]]["macs"], tool


def test_the_peak_of_activation_memory_is_shown_with_the_tensors_that_make_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = run(capsys, "table1")
    assert "Activations take most memory at blocks.1.pool" in out
    (total,) = (line for line in out.splitlines() if "329,728" in line)
    assert [cell.strip() for cell in total.strip("│").split("│")] == [
        "total", "", "329,728", "1,318,912", "659,456", "329,728",
    ]  # fmt: skip
    content = json.loads(run(capsys, "table1", "--json")[1])
    assert content["activations"] == {
        "peak_elements": 329_728,
        "bytes": {"float32": 1_318_912, "float16": 659_456, "int8": 329_728},
        "at": "blocks.1.pool",
        "alive": ["stem.conv2", "blocks.1.expand", "blocks.1.depthwise", "blocks.1.pool"],
    }


def test_an_architecture_from_a_file_counts_as_the_one_it_came_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "architecture.json"
    file.write_text(TABLE1.to_json())
    assert json.loads(run(capsys, str(file), "--json")[1])["macs"] == 28_938_900


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"stem": [8, 32]}', "`blocks` is missing"),
        ('{"blocks": []}', "`blocks` must hold at least one block"),
        ('{"blocks": [{"expanded": 64}]}', "block: "),
        ('{"blocks": [{"expanded": 64, "out": 32, "kernel": 5}]}', "unknown field kernel"),
        ('{"blocks": [{"expanded": "64", "out": 32}]}', "`expanded` must be a positive integer, but got '64'"),
        ('{"blocks": [{"expanded": 64, "out": 32, "stride": 2}]}', "`stride` must be a pair"),
        ('{"blocks": [{"expanded": 64, "out": 40, "residual": 2}]}', "`out` must equal the 32"),
        ('{"blocks": [7]}', "a block must be a JSON object"),
    ],
)
def test_a_file_that_is_no_architecture_is_refused_with_its_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "architecture.json"
    file.write_text(text)
    status, out, err = run(capsys, str(file))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {file}: ")
    assert complaint in err


@pytest.mark.parametrize("arguments", [["nowhere.json"], ["table1", "--frames", "0"]])
def test_bad_input_ends_with_status_2_and_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_folder_and_a_binary_file_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary.json"):
        status, _, err = run(capsys, str(path))
        assert status == 2
        assert "cannot be read" in err


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("architecture", ["table1", "baseline"])
def test_a_narrow_terminal_cuts_no_number_and_no_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, architecture: str, width: int
) -> None:
    content = json.loads(run(capsys, architecture, "--json")[1])
    monkeypatch.setattr(terminal, "WIDTH_IN_A_FILE", width)
    out = run(capsys, architecture)[1]
    assert all(len(line) <= width for line in out.splitlines())
    words = {word.strip("│;,.") for word in out.split()}
    for row in content["rows"]:
        assert {row["name"], *(f"{row[name]:,}" for name in ("parameters", "macs", "bytes") if row[name])} <= words
    for name, account in content["conventions"].items():
        assert {name, *(f"{account[each]:,}" for each in ("parameters", "macs", "bytes"))} <= words
    assert {*content["activations"]["alive"], *(f"{n:,}" for n in content["activations"]["bytes"].values())} <= words
    assert {f"{content['macs']:,}", f"{content['bytes']:,}"} <= words


def test_a_terminal_says_itself_how_wide_it_is() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-m", "budget", "table1"], stdout=theirs, env=environment) as command:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # in which a terminal ends
            while part := os.read(ours, 65_536):
                shown += part
    os.close(ours)
    assert command.returncode == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert "  blocks.1.depthwise_norm" in lines


def test_a_witness_that_is_not_installed_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None; from budget.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "table1", "--witness"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: `--witness` counts with torch, torchinfo, fvcore and thop: import of torch")


def test_the_command_answers_without_importing_torch() -> None:
    code = "import sys; from budget.__main__ import main; main(['table1']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
