"""Click to segment: prompts of a person become the mask of one structure (docs/click.md)."""

from medai.click.model import LoadedClickModel, load_model
from medai.click.prompts import MOST_POINTS, MOST_PROMPTS
from medai.click.session import ClickSession, ClickStep

__all__ = ["MOST_POINTS", "MOST_PROMPTS", "ClickSession", "ClickStep", "LoadedClickModel", "load_model"]
