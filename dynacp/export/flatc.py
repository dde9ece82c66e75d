"""ExecuTorch's flatbuffer compiler, which comes with it but is looked for on the path: import this before ExecuTorch."""

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import executorch

INSTALLED = Path(executorch.__path__[0])
FLATC = INSTALLED / "data" / "bin" / "flatc"

os.environ.setdefault("FLATC_EXECUTABLE", str(FLATC))


def decoded(content: bytes, schema: str) -> dict[str, Any]:
    """A flatbuffer as JSON, by a schema of the installed package."""
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "content.bin")
        file.write_bytes(content)
        options = ("--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", temporary)
        subprocess.run([FLATC, *options, INSTALLED / schema, "--", file], check=True)
        return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
