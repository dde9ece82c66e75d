"""Fetching official checkpoints, against a server on the loopback interface."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from teacher_networks import saved, seeded

from dynacp.efficientat import MN, NAMES, CheckpointError, DyMN, fetch
from dynacp.efficientat.__main__ import main


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; of a file named `short-...` it sends half, but announces all."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        short = path.parent.name == "short"
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if short else content)
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a server on the loopback interface, and the folder it serves."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", served
        server.shutdown()
        thread.join()


def test_a_fetched_checkpoint_is_the_file_and_is_fetched_once(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    source = saved(seeded(MN, 0.1, 527).state_dict(), served, "mn01_as_mAP_298.pt")
    path = fetch("mn01_as_mAP_298", tmp_path / "new" / "folder", base=base)
    assert path == tmp_path / "new" / "folder" / "mn01_as_mAP_298.pt"
    assert path.read_bytes() == source.read_bytes()
    assert fetch("mn01_as_mAP_298", path.parent, base="http://127.0.0.1:9") == path  # nothing listens there


@pytest.mark.parametrize("build", [MN, DyMN])
def test_a_file_that_is_not_what_its_name_says_is_refused(
    build: type[MN], release: tuple[str, Path], tmp_path: Path
) -> None:
    base, served = release
    saved(seeded(build, 0.1, 527).state_dict(), served, "dymn04_as.pt")
    with pytest.raises(CheckpointError, match=rf"holds {build.__name__} of width 0.1, not DyMN of width 0.4"):
        fetch("dymn04_as", tmp_path / "out", base=base)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_transfer_leaves_nothing(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    (served / "short").mkdir()
    saved(seeded(MN, 0.1, 527).state_dict(), served / "short", "mn01_as_mAP_298.pt")
    with pytest.raises(CheckpointError, match=r"connection ended after [\d,]+ of [\d,]+ bytes"):
        fetch("mn01_as_mAP_298", tmp_path / "out", base=f"{base}/short")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_page_in_place_of_the_file_is_refused(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    (served / "mn01_as_mAP_298.pt").write_text("<html>sign in first</html>")
    with pytest.raises(CheckpointError, match="truncated, damaged or of another kind"):
        fetch("mn01_as_mAP_298", tmp_path / "out", base=base)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("name", "flag"), [("mn10_as_mAP_471", "--mn FILE"), ("dymn04_as", "--dymn FILE")])
def test_what_cannot_be_downloaded_says_what_to_do(
    name: str, flag: str, release: tuple[str, Path], tmp_path: Path
) -> None:
    base, _ = release
    for address, reason in ((base, "404"), ("http://127.0.0.1:9", "refused")):
        with pytest.raises(CheckpointError) as caught:
            fetch(name, tmp_path / "out", base=address)
        message = str(caught.value)
        for part in (reason, f"{address}/{name}.pt", str(tmp_path / "out" / f"{name}.pt"), flag):
            assert part in message, message


def test_a_folder_that_cannot_be_made_is_named_with_the_option(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    saved(seeded(MN, 0.1, 527).state_dict(), served, "mn01_as_mAP_298.pt")
    (tmp_path / "file").touch()
    with pytest.raises(
        CheckpointError, match=r"file/out cannot be written \(Not a directory\); name another .*`--folder`"
    ):
        fetch("mn01_as_mAP_298", tmp_path / "file" / "out", base=base)


def test_a_bad_file_that_is_already_there_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mn04_as_mAP_432.pt"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"mn04_as_mAP_432\.pt is no usable .*fetch it anew with .* --folder NEW"):
        fetch("mn04_as_mAP_432", tmp_path)
    assert path.read_text() == "not a checkpoint"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        fetch("mn99", tmp_path)
    assert all(name in str(caught.value) for name in NAMES)
    assert len(NAMES) == 12


def test_the_command_line_exits_with_2_and_without_a_traceback() -> None:
    command = [sys.executable, "-m", "dynacp.efficientat", "mn99"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "'mn99' is no known checkpoint" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_command_line_prints_where_the_file_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(seeded(MN, 0.1, 527).state_dict(), tmp_path, "mn01_as_mAP_298.pt")
    assert main(["mn01_as_mAP_298", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)


def test_help_names_every_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
