"""Configurations, model cards and requests as plain data: frozen dataclasses with a standard-library validator."""

from medai.config.validation import from_json, read_json, to_json

__all__ = ["from_json", "read_json", "to_json"]
