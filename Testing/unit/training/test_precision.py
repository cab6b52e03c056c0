from __future__ import annotations

import pytest
import torch

from medai.errors import EnvironmentFailure
from medai.training import choose_compute, cpu_has_bfloat16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_bfloat16_needs_the_cpu_flags(flags: dict, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert cpu_has_bfloat16() is expected
    compute = choose_compute("cpu")
    assert compute.bfloat16 is expected
    assert compute.channels_last is expected
    with compute.autocast():
        assert torch.is_autocast_enabled("cpu") is expected


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "graphics"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(EnvironmentFailure, match=device):
        choose_compute(device)


def test_auto_is_a_device() -> None:
    assert choose_compute("auto").device.type in ("cpu", "cuda", "mps")
