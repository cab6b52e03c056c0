"""Phantoms to click on: an ellipsoid beside a ball, noisy, on an oblique, anisotropic grid."""

from __future__ import annotations

import numpy as np

from medai.config.requests import Prompt
from medai.image import Image, Roi

SHAPE = (27, 63, 71)


def oblique(spacing_ijk=(0.8, 1.0, 2.4)):
    x, y = 0.25, -0.4
    rotation = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]) @ np.array(
        [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(spacing_ijk)
    matrix[:3, 3] = (-12.5, 33.1, 7.7)
    return matrix


def positions_mm(matrix, shape=SHAPE):
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return (np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T)[..., :3]


def ras(image, kji):
    k, j, i = kji
    return tuple(float(c) for c in (image.ijk_to_ras @ np.array([i, j, k, 1.0]))[:3])


def phantom(noise=15.0, seed=3):
    """The image and two truth masks (k, j, i): an ellipsoid around (13, 30, 28), a ball around (13, 40, 58)."""
    matrix = oblique()
    where = positions_mm(matrix)
    image = Image(np.zeros((1, *SHAPE), np.float32), matrix, "phantom")
    first = np.linalg.norm((where - ras(image, (13, 30, 28))) / np.array([1.3, 1.0, 1.0]), axis=-1) <= 11.0
    second = np.linalg.norm(where - ras(image, (13, 40, 58)), axis=-1) <= 7.0
    array = 100.0 * first + 160.0 * second
    array = array + np.random.default_rng(seed).normal(0, noise, SHAPE)
    return image.with_array(array.astype(np.float32)), first, second


def point(image, kji, positive=True):
    return Prompt("point", positive, (ras(image, kji),))


def box_around(image, mask, margin_mm=1.0, positive=True):
    """A box along the grid's own axes around a mask."""
    where = np.argwhere(mask)
    low, high = where.min(axis=0) - 0.5, where.max(axis=0) + 0.5
    size = (high - low) * np.array(image.spacing_mm) + 2 * margin_mm
    axes = image.ijk_to_ras[:3, :3] / np.linalg.norm(image.ijk_to_ras[:3, :3], axis=0)
    center = ras(image, (low + high) / 2)
    roi = Roi(center, tuple(float(s) for s in size[::-1]), tuple(float(v) for v in axes.reshape(9)))
    return Prompt("box", positive, roi=roi)


def dice(a, b):
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
