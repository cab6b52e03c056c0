"""Why a classifier decided as it did: heat maps on the grid of the network's input."""

from medai.explain.heat_map import METHODS, Method, heat_map

__all__ = ["METHODS", "Method", "heat_map"]
