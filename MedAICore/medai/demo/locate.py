"""Where the hippocampi of a head are: the head is matched with the MNI152 template, whose hippocampi are known."""

from __future__ import annotations

import numpy as np

from medai.errors import InputError
from medai.image import Image
from medai.progress import CancelCheck, ProgressCallback, never_cancelled, no_progress
from medai.registration import AffineMatch, register_affine

# Middle of the box around the left hippocampus, head to tail, in MNI152 RAS mm; the right one is its mirror image.
LEFT_CENTER_MNI = (-25.5, -22.0, -11.0)
# Half of that box, and what the brain's size varies by: it must lie inside the image.
_HALF_BOX_MM = (16.0, 24.0, 17.0)

_LOWEST_CORRELATION = 0.35
_LOWEST_COVERED = 0.5
_STRETCH = (0.65, 1.35)
_LARGEST_STRETCH_RATIO = 1.5


def center_mni(side: str) -> tuple[float, float, float]:
    """Middle of the hippocampus of the ``left`` or ``right`` side, MNI152 RAS mm."""
    x, y, z = LEFT_CENTER_MNI
    return (x, y, z) if side == "left" else (-x, y, z)


def match_template(
    template: Image,
    image: Image,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> AffineMatch:
    """The template's place in a head MR. InputError, with the reason, where the head was not found for certain."""
    focus = (center_mni("left"), center_mni("right"))
    match = register_affine(template, image, focus, progress, cancelled)
    problems = problems_of(match) or outside(match, image)
    if problems:
        raise InputError(
            f"The hippocampi could not be located in '{image.name}': {'; '.join(problems)}.",
            "Give a T1-weighted MR of a head whose orientation in the file's header is right.",
        )
    return match


def identity_match() -> AffineMatch:
    """The match of the template with itself."""
    return AffineMatch(np.eye(4), correlation=1.0, covered=1.0)


def problems_of(match: AffineMatch) -> list[str]:
    """Why a match cannot be a head that was found; empty where it is plausible."""
    problems = []
    largest, smallest = float(match.scales.max()), float(match.scales.min())
    if match.correlation < _LOWEST_CORRELATION:
        problems.append(
            f"it does not look like a T1 head (correlation {match.correlation:.2f}, at least {_LOWEST_CORRELATION})"
        )
    if match.covered < _LOWEST_COVERED:
        problems.append(f"only {match.covered:.0%} of the brain would be inside the image")
    if smallest < _STRETCH[0] or largest > _STRETCH[1] or largest / smallest > _LARGEST_STRETCH_RATIO:
        problems.append(f"the head would be stretched {smallest:.2f} to {largest:.2f} times")
    if np.linalg.det(match.template_to_image[:3, :3]) <= 0:
        problems.append("the head would be mirrored")
    return problems


def outside(match: AffineMatch, image: Image) -> list[str]:
    """Which hippocampi do not lie wholly inside the image."""
    ras_to_ijk = np.linalg.inv(image.ijk_to_ras)
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    cut = []
    for side in ("left", "right"):
        corners = np.array(center_mni(side)) + signs * np.array(_HALF_BOX_MM)
        ijk = np.array([(ras_to_ijk @ np.array([*match.map_point(corner), 1.0]))[:3] for corner in corners])
        inside = (ijk >= -0.5) & (ijk <= np.array(image.shape[::-1]) - 0.5)
        if not inside.all():
            cut.append(f"the {side} hippocampus would lie outside the image, at least in part")
    return cut
