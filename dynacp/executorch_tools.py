"""Import this before ExecuTorch or torchao: it shows ExecuTorch its flatbuffer compiler, and silences torchao.

The compiler comes with ExecuTorch, which nevertheless looks for it on the path. torchao's import warns.
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
"""The folder of the installed package `executorch`."""

FLATC = INSTALLED / "data" / "bin" / "flatc"
"""ExecuTorch's compiler of flatbuffers."""

os.environ.setdefault("FLATC_EXECUTABLE", str(FLATC))
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def decoded(content: bytes, schema: str) -> dict[str, Any]:
    """The content of a flatbuffer. `schema` is the path of its schema in the installed package (`INSTALLED`).

    Raises `subprocess.CalledProcessError` for content that the schema does not describe.
    """
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "content.bin")
        file.write_bytes(content)
        options = ("--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", temporary)
        subprocess.run([FLATC, *options, INSTALLED / schema, "--", file], check=True)
        return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
