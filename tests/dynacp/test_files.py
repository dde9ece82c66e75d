"""Files that are whole or absent, and where they are written to."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dynacp.files import write_text, written_whole

WRITES = (
    "import sys; from pathlib import Path; from dynacp.files import write_text; write_text(Path(sys.argv[1]), 'new')"
)


def test_a_file_is_whole_or_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    write_text(file, "old")
    with pytest.raises(RuntimeError), written_whole(file) as partial:
        partial.write_text("ne")
        raise RuntimeError
    assert file.read_text() == "old"
    write_text(file, "new ±")
    assert file.read_text(encoding="utf-8") == "new ±"
    write_text(file, os.fsdecode(b"\xff.wav"))
    assert file.read_bytes() == b"\xff.wav"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "kept").mkdir()
    file, link, second = tmp_path / "kept" / "out.csv", tmp_path / "link.csv", tmp_path / "second.csv"
    if there:
        file.write_text("old")
    link.symlink_to("kept/out.csv")
    second.symlink_to(link)
    write_text(second, "new")
    assert (second.readlink(), link.readlink()) == (link, Path("kept/out.csv"))
    assert file.read_text() == "new"
    assert [each.name for each in file.parent.iterdir()] == ["out.csv"]


def test_a_pipe_and_a_device_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "new")
    reader.join(timeout=60)
    assert heard == ["new"]
    assert pipe.is_fifo()
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    write_text(device, "new")
    assert device.is_char_device()


def test_errors_of_the_system_name_the_file(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    for path, reason in (
        (circle, "Too many levels of symbolic links"),
        (full, "No space left on device"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none" / "out.csv", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=reason) as error:
            write_text(path, "new")
        assert error.value.filename == str(path)


@pytest.mark.parametrize("named", ["stdout", "out.txt"])
def test_what_is_for_standard_output_goes_there_after_what_was_printed(tmp_path: Path, named: str) -> None:
    """Through a link to /dev/stdout: a fault here would replace the machine's own, where root runs the tests."""
    out = tmp_path / "out.txt"
    out.write_text("before\n")
    (tmp_path / "stdout").symlink_to("/dev/stdout")
    command = [sys.executable, "-c", f"print('printed'); {WRITES}; print()"]
    with out.open("a") as file:
        subprocess.run([*command, str(tmp_path / named)], stdout=file, check=True, timeout=60)
    assert out.read_text() == "before\nprinted\nnew\n"
    piped = subprocess.run([*command, str(tmp_path / "stdout")], capture_output=True, text=True, timeout=60)
    assert piped.stdout == "printed\nnew\n"
    assert (tmp_path / "stdout").is_symlink()
