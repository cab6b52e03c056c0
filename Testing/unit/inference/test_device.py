"""Choosing a device, and when half precision is allowed."""

from __future__ import annotations

import pytest
import torch

from medai.errors import InputError
from medai.inference import available_devices, choose_device, half_precision
from medai.inference import device as device_module


def test_cpu_is_always_there_and_auto_takes_the_best():
    assert choose_device("CPU ") == torch.device("cpu")
    assert str(choose_device("auto")) == available_devices()[0]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu:1"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(InputError, match="is not a device"):
        choose_device(name)


def test_a_missing_device_is_named_with_what_there_is(monkeypatch):
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cuda:0", "cpu"])
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("auto") == torch.device("cuda:0")
    with pytest.raises(InputError, match=r"'cuda:3' is not available here.*cuda:0, cpu"):
        choose_device("cuda:3")
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cpu"])
    with pytest.raises(InputError, match=r"'cuda' is not available.*one of: cpu"):
        choose_device("cuda")
    with pytest.raises(InputError, match="mps"):
        choose_device("mps")


def test_bfloat16_on_a_cpu_needs_the_instructions():
    cpu = torch.device("cpu")
    assert half_precision(cpu, frozenset({"avx2", "avx512f"})) is None
    assert half_precision(cpu, frozenset({"avx2", "avx512_bf16"})) is torch.bfloat16
    assert half_precision(cpu, frozenset({"amx_bf16", "amx_tile"})) is torch.bfloat16
    assert half_precision(cpu, frozenset()) is None
    assert half_precision(torch.device("mps")) is torch.float16
