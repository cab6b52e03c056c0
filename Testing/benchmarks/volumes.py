"""What the benchmarks compute on: heads with known tissues, smooth random logits, label maps of organs. All seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

Shape = tuple[int, int, int]

TISSUES = ("csf and rest", "grey matter", "white matter", "lesion")
"""Labels 1 to 4 of `head`."""

HEAD_SHAPE: Shape = (160, 256, 256)
HEAD_SPACING_MM = (1.0, 0.75, 0.75)
_LESIONS = 24


def head(shape: Shape = HEAD_SHAPE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image (float32, mean 0, deviation 1) and its tissues (uint8), both (k, j, i), of the MNI152 brain.

    The brain's box is stretched to about nine tenths of `shape`. Grey and white matter are the atlas's own maps that
    the package nilearn carries; lesions are bright balls pasted into the brain; bias field and noise are drawn anew for
    each seed. The image is the same anatomy each time: it serves to compare engines, not to judge a network.
    """
    from nilearn import datasets

    loaders = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
    )
    maps = [np.asarray(load(resolution=1).dataobj, np.float32).transpose(2, 1, 0) for load in loaders]
    box = _box(maps[0] > 0.05)
    inner = tuple(int(n * 0.9) for n in shape)
    t1, grey, white = (np.pad(_stretched(m[box], inner), _margins(inner, shape)) for m in maps)
    generator = np.random.default_rng(seed)
    brain = t1 > 0.05
    labels = brain.astype(np.uint8)
    labels[brain & (grey > 0.5)] = 2
    labels[brain & (white > np.maximum(grey, 0.5))] = 3
    image = t1 / t1.max()
    for center in generator.permutation(np.argwhere(labels == 3))[:_LESIONS]:
        ball, inside = _ball(center, generator.uniform(4.0, 9.0), shape)
        inside &= brain[ball]
        labels[ball][inside] = 4
        image[ball][inside] = 1.25
    field = _stretched(generator.uniform(0.85, 1.15, (3, 3, 3)).astype(np.float32), shape)
    noisy = image * field + generator.normal(0, 0.03, shape).astype(np.float32)
    return ((noisy - noisy.mean()) / noisy.std()).astype(np.float32), labels


def logits(classes: int, shape: Shape, seed: int = 0) -> torch.Tensor:
    """Smooth random logits (classes, k, j, i), float16: blobs of about 16 voxels, boundaries everywhere."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(classes, *(max(2, n // 16) for n in shape), generator=generator)
    result = torch.empty((classes, *shape), dtype=torch.float16)
    for n in range(classes):  # one class at a time: all at once in float32 would be the largest thing in memory
        smooth = torch.nn.functional.interpolate(coarse[n][None, None], size=shape, mode="trilinear")
        result[n] = smooth[0, 0] * 4
    return result


def organs(shape: Shape, count: int) -> np.ndarray:
    """`count` ellipsoids on a lattice with the values 1 to `count`, about a fifth of the volume, uint8 (k, j, i)."""
    side = int(np.ceil(count ** (1 / 3)))
    labels = np.zeros(shape, np.uint8)
    for value in range(1, count + 1):
        place = np.unravel_index(value - 1, (side, side, side))
        box = tuple(slice(n * p // side, n * (p + 1) // side) for n, p in zip(shape, place, strict=True))
        axes = [np.linspace(-1.15, 1.15, s.stop - s.start) ** 2 for s in box]
        labels[box][axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1] = value
    return labels


def saved_head(folder: Path, shape: Shape, seed: int) -> Path:
    """The image of `head` as a .npy file, made where it is not there yet."""
    path = folder / f"head-{'x'.join(map(str, shape))}-{seed}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, head(shape, seed)[0])
    return path


def _box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    k, j, i = (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    return slice(k[0], k[-1] + 1), slice(j[0], j[-1] + 1), slice(i[0], i[-1] + 1)


def _stretched(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None, None]
    return torch.nn.functional.interpolate(tensor, size=shape, mode="trilinear")[0, 0].numpy()


def _margins(inner: tuple[int, ...], shape: Shape) -> list[tuple[int, int]]:
    return [((want - have) // 2, want - have - (want - have) // 2) for have, want in zip(inner, shape, strict=True)]


def _ball(center: np.ndarray, radius: float, shape: Shape) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box around a ball, cut to the volume, and which of its voxels are inside."""
    box = tuple(slice(max(0, int(c - radius)), min(n, int(c + radius) + 2)) for c, n in zip(center, shape, strict=True))
    grid = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
    distance = sum((g - c) ** 2 for g, c in zip(grid, center, strict=True))
    return box, distance <= radius**2
