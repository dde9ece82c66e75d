"""Workers that one command starts on a machine."""

import pytest

from nas.study.local_workers import environment


def gpus(*, of_workers: int) -> list[str | None]:
    return [environment(worker).get("CUDA_VISIBLE_DEVICES") for worker in range(1, of_workers + 1)]


def test_helpers_take_the_other_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert gpus(of_workers=4) == ["1", "2", "0", "1"], "this process takes 0"


def test_helpers_keep_to_the_gpus_that_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8d5")
    assert gpus(of_workers=3) == ["GPU-8d5", "2", "GPU-8d5"]


@pytest.mark.parametrize("hidden", [False, True])
def test_without_a_gpu_nothing_is_said_of_gpus(monkeypatch: pytest.MonkeyPatch, hidden: bool) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert gpus(of_workers=1) == ["" if hidden else None]
