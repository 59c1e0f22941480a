"""Which device, which precision, and which workers."""

from __future__ import annotations

import pytest

from unix_bench.errors import UserError
from unix_bench.execution import choose_crew, choose_device, choose_dtype


def test_devices_and_precision() -> None:
    assert choose_device("cpu") == "cpu"
    for wrong in ("gpu", "mps", "cuda:99"):
        with pytest.raises(UserError, match=f"--device {wrong}"):
            choose_device(wrong)
    assert choose_dtype("auto", "cpu", False, "float16") == "float32"
    assert choose_dtype("auto", "cuda", False, "float16") == "float16"
    assert choose_dtype("auto", "cuda", True, "float16") == "float32"
    assert choose_dtype("float16", "cpu", False, "float32") == "float16"
    with pytest.raises(UserError, match="--dtype int8: say auto, float32, bfloat16 or float16"):
        choose_dtype("int8", "cuda", False, "bfloat16")
    assert choose_dtype("auto", "cpu:0", False, "float16") == "float32"
    with pytest.raises(UserError, match="there is one cpu"):
        choose_device("cpu:3")
    with pytest.raises(UserError, match="drop one"):
        choose_dtype("bfloat16", "cuda", True, "bfloat16")


def test_who_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def crew(executor: str | None, workers: int | None, device: str) -> tuple[str, tuple[str, ...]]:
        found = choose_crew(executor, workers, device, "local")  # type: ignore[arg-type]
        return found.executor, found.devices

    assert crew(None, None, "cpu") == ("inline", ("cpu",))
    assert crew(None, 2, "cpu") == ("process", ("cpu", "cpu"))
    assert crew("ray", 3, "cpu") == ("ray", ("cpu",) * 3)
    with pytest.raises(UserError, match="--workers 2 needs --executor process or ray"):
        choose_crew("inline", 2, "cpu", "local")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert crew(None, None, "cuda") == ("process", ("cuda:0", "cuda:1"))
    assert crew(None, 3, "cuda") == ("process", ("cuda:0", "cuda:1", "cuda:0"))
    assert crew(None, None, "cuda:1") == ("inline", ("cuda:1",))
    assert crew("inline", None, "cuda") == ("inline", ("cuda",))
