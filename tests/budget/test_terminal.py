import subprocess
import sys

import pytest

STOPPED_IN_A_FINALIZER = """
import os, signal, sys, time
from budget.terminal import hear_stops

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.1)  # where the exception comes up, and is dropped

{hear}
Finalized()
try:
    time.sleep(5)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_a_stop_that_python_drops_in_a_finalizer_is_heard_all_the_same(signal: str) -> None:
    script = STOPPED_IN_A_FINALIZER.format(signal=signal, hear="hear_stops()")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    assert not ended.stderr


def test_python_alone_drops_it() -> None:
    """Else there is nothing to mend."""
    script = STOPPED_IN_A_FINALIZER.format(signal="SIGINT", hear="")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "KeyboardInterrupt" in ended.stderr
