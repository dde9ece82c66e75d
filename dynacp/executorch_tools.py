"""ExecuTorch and torchao, made ready: import this before either.

ExecuTorch's flatbuffer compiler comes with it, but is looked for on the path. torchao's import warns.
"""

import json
import logging
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import executorch

INSTALLED = Path(executorch.__path__[0])
FLATC = INSTALLED / "data" / "bin" / "flatc"

os.environ.setdefault("FLATC_EXECUTABLE", str(FLATC))
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def decoded(content: bytes, schema: str) -> dict[str, Any]:
    """A flatbuffer as JSON, by a schema of the installed package."""
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "content.bin")
        file.write_bytes(content)
        options = ("--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", temporary)
        subprocess.run([FLATC, *options, INSTALLED / schema, "--", file], check=True)
        return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
