"""Networks of every kind of block are converted to OpenVINO, whose figures are compared with torch's on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medai.inference.conversion import convert
from medai.networks import build_network

pytest.importorskip("openvino", reason="OpenVINO is not installed")
BASE = {"in_channels": 2, "out_channels": 3, "channels": [4, 8], "strides": [[1, 1, 1], [1, 2, 2]]}
KINDS = {
    "multi-scale": {"block": "multiscale_attention", "fusion": "attention"},
    "3D + t": {"block": "dynamic", "in_channels": 3, "frames": 3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_converted_network_gives_torchs_logits(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = BASE | KINDS[kind]
    network = build_network("unet", arguments).eval()
    # Raises ConversionError where the logits of a tile of other proportions differ by 0.1 % of their spread.
    convert(network, (1, arguments["in_channels"], 8, 16, 16), tmp_path / "network.xml")
    assert (tmp_path / "network.xml").is_file()
