"""What the augmentation may do to a patch, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from medai.errors import ConfigError


@dataclass(frozen=True)
class AugmentationSettings:
    """Probabilities and ranges of the augmentation; the defaults follow nnU-Net (Isensee et al. 2021), a little milder.

    Ranges are drawn uniformly (scales in the logarithm). `rotation_degrees` and `mirror` have the axes (k, j, i): the
    rotation is *about* that axis. `shift` moves a classifier's inputs by up to `shift_range` of a side. Widths of blur
    are in voxels, noise and bias field in units of the normalised image.
    """

    rotation: float = 0.3
    rotation_degrees: tuple[float, float, float] = (20.0, 20.0, 20.0)
    scaling: float = 0.3
    scale_range: tuple[float, float] = (0.8, 1.25)
    elastic: float = 0.2
    elastic_mm: float = 2.0
    elastic_control_points: int = 5
    mirror: tuple[bool, bool, bool] = (True, True, True)
    noise: float = 0.15
    noise_std: tuple[float, float] = (0.02, 0.25)
    blur: float = 0.15
    blur_sigma: tuple[float, float] = (0.4, 1.0)
    brightness: float = 0.2
    brightness_range: tuple[float, float] = (0.75, 1.3)
    contrast: float = 0.2
    contrast_range: tuple[float, float] = (0.65, 1.5)
    low_resolution: float = 0.15
    low_resolution_zoom: tuple[float, float] = (0.5, 0.95)
    gamma: float = 0.3
    gamma_range: tuple[float, float] = (0.7, 1.5)
    gamma_inverted: float = 0.15
    bias_field: float = 0.2
    bias_field_strength: float = 0.4
    shift: float = 0.0
    shift_range: float = 0.1

    def __post_init__(self) -> None:
        """Raise `ConfigError` naming a probability or a range that makes no sense."""
        for name in ("rotation", "scaling", "elastic", "noise", "blur", "brightness", "contrast", "low_resolution",
                     "gamma", "gamma_inverted", "bias_field", "shift"):  # fmt: skip
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"augmentation.{name} is {getattr(self, name)}.", "Give a probability from 0 to 1.")
        for name in ("scale_range", "noise_std", "blur_sigma", "brightness_range", "contrast_range",
                     "low_resolution_zoom", "gamma_range"):  # fmt: skip
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ConfigError(
                    f"augmentation.{name} is {[low, high]}.", "Give two numbers above 0, the smaller first."
                )
        if self.elastic_control_points < 4:
            raise ConfigError(f"elastic_control_points is {self.elastic_control_points}.", "Use 4 or more.")

    @property
    def source_factor(self) -> float:
        """How much larger than the patch its source must be, so that rotation and scaling find real voxels."""
        rotates = self.rotation > 0 and max(self.rotation_degrees) > 0
        scales = self.scale_range[1] if self.scaling > 0 else 1.0
        return max(1.2 if rotates else 1.0, min(scales, 1.25))
