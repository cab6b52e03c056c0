"""Networks, chosen by name: our own U-Net, and MONAI's DynUNet and SegResNet. Arguments are plain data."""

from medai.networks.registry import (
    NETWORKS,
    NetworkEntry,
    available,
    build_network,
    load_weights,
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
    "load_weights",
    "parse_arguments",
    "size_divisor",
    "without_deep_supervision",
]
