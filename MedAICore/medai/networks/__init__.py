"""Networks, chosen by name: for segmentation and for classification, our own and MONAI's. Arguments are plain data."""

from medai.networks.registry import (
    NETWORKS,
    NetworkEntry,
    available,
    build_network,
    built_from,
    encoder_weights,
    load_weights,
    output_weights,
    parse_arguments,
    size_divisor,
    without_deep_supervision,
)
from medai.networks.unet import UNet, UNetArguments

__all__ = [
    "NETWORKS",
    "NetworkEntry",
    "UNet",
    "UNetArguments",
    "available",
    "build_network",
    "built_from",
    "encoder_weights",
    "load_weights",
    "output_weights",
    "parse_arguments",
    "size_divisor",
    "without_deep_supervision",
]
