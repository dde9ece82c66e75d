"""A real PostgreSQL on loopback, with its data in a temporary folder."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


class Postgres:
    """A server of its own for a test session, without a password and without waiting for the disk."""

    def __init__(self, binaries: Path) -> None:
        self.binaries, self.user = binaries, "postgres" if os.getuid() == 0 else None  # it refuses to run as root
        self.folder = Path(tempfile.mkdtemp(prefix="nas-postgres-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self._run("initdb", "--auth=trust", "--username=nas", "--no-sync", "--encoding=UTF8")
        self.start()

    @staticmethod
    def binaries_here() -> Path | None:
        """The folder of initdb and pg_ctl; Debian keeps it out of PATH."""
        found = shutil.which("pg_ctl")
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        return Path(found).resolve().parent if found else debian[-1].parent if debian else None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://nas@127.0.0.1:{self.port}/"

    def create_database(self, name: str) -> str:
        """Its URL."""
        self._ask("createdb", name)
        return self.url + name

    def drop_database(self, name: str) -> None:
        """Whoever is still connected to it."""
        self._ask("dropdb", "--force", name)

    def start(self) -> None:
        roomy = "-c max_connections=400"  # a test process keeps its connections until their garbage is collected
        options = f"-p {self.port} -h 127.0.0.1 -c unix_socket_directories= {roomy} -F"
        self._run("pg_ctl", "--wait", f"--log={self.folder / 'log'}", f"--options={options}", "start")

    def stop(self) -> None:
        """As an administrator does who waits for nobody."""
        self._run("pg_ctl", "--wait", "--mode=fast", "stop")

    def remove(self) -> None:
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")
        shutil.rmtree(self.folder)

    def _ask(self, program: str, *arguments: str) -> None:
        whom = "--host=127.0.0.1", f"--port={self.port}", "--username=nas"
        subprocess.run([str(self.binaries / program), *whom, *arguments], check=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), f"--pgdata={self.folder / 'data'}", *arguments]
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL)
