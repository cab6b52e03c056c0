"""How bright each structure of a label map is in one image: any contrast, that of tissues, or a known one."""

from __future__ import annotations

import torch

from medai.config.label_maps import Contrast
from medai.synthesis.draws import chance, choose, uniform, whole
from medai.synthesis.label_volumes import LabelTable


def draw_intensities(
    table: LabelTable, generator: torch.Generator, unstructured: float = 0.4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread (count,) of every index, means in about 0..1.

    Both sides of the body mostly look alike. A known contrast is drawn by its weight (0..1). Of the others the
    part `unstructured` has a brightness per structure (Billot et al. 2023), the rest one per tissue, from which
    structures deviate.
    """
    count = len(table)
    known = [contrast.weight for contrast in table.contrasts]
    rest = max(1.0 - sum(known), 0.0)
    kind = choose((*known, rest * (1.0 - unstructured), rest * unstructured), generator)
    means = torch.rand(count, generator=generator)
    spreads = 0.16 * torch.rand(count, generator=generator) ** 1.5
    if kind < len(known):
        means, spreads = _known(table, table.contrasts[kind], means, spreads, generator)
    elif kind == len(known):
        means = _by_tissue(table, means, generator)
    if chance(0.8, generator):
        # One of the two sides decides for both.
        first = torch.minimum(table.mirror, torch.arange(count))
        means, spreads = means[first], spreads[first]
        if chance(0.3, generator):
            means = means + 0.02 * torch.randn(count, generator=generator)
    if chance(0.12, generator):
        means = 1.0 - means
    means[0], spreads[0] = _background(generator)
    return means, spreads


def _by_tissue(table: LabelTable, means: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Structures of one tissue within a small deviation of each other."""
    tissues = torch.rand(int(table.tissue.max()) + 1, generator=generator)
    deviation = uniform(0.01, 0.12, generator)
    grouped = tissues[table.tissue] + deviation * torch.randn(len(table), generator=generator)
    return torch.where(table.tissue > 0, grouped, means)


def _known(
    table: LabelTable, contrast: Contrast, means: torch.Tensor, spreads: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    top = max((mean + deviation for mean, deviation in contrast.means.values()), default=1.0) or 1.0
    means, spreads = means.clone(), spreads.clone()
    for index, value in enumerate(table.values):
        normal = torch.randn(2, generator=generator)
        if str(value) in contrast.means:
            mean, deviation = contrast.means[str(value)]
            means[index] = (mean + deviation * float(normal[0])) / top
        if str(value) in contrast.spreads:
            mean, deviation = contrast.spreads[str(value)]
            spreads[index] = abs(mean + deviation * float(normal[1])) / top
    return means, spreads


def _background(generator: torch.Generator) -> tuple[float, float]:
    """Air: black in most images, but not in inverted or padded ones."""
    kind = whole(0, 9, generator)
    if kind < 4:
        return 0.0, 0.0
    if kind < 7:
        return uniform(0, 0.1, generator), uniform(0, 0.05, generator)
    return uniform(0, 1, generator), uniform(0, 0.1, generator)
