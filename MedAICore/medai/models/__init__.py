"""Model packages: a card (model.json) and safetensors, as data. Opening one never runs code (docs/model-format.md)."""

from medai.models.library import (
    export_package,
    install,
    list_models,
    open_model,
    remove,
    shipped_folder,
    user_folder,
    verify,
)
from medai.models.loaded import LoadedPackage, load_networks
from medai.models.package import ModelPackage, open_package
from medai.models.writing import UNWRITTEN_WEIGHTS, write_package

__all__ = [
    "UNWRITTEN_WEIGHTS",
    "LoadedPackage",
    "ModelPackage",
    "export_package",
    "install",
    "list_models",
    "load_networks",
    "open_model",
    "open_package",
    "remove",
    "shipped_folder",
    "user_folder",
    "verify",
    "write_package",
]
