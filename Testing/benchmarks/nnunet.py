"""nnU-Net's plans for a network and a volume of ours, so that its own predictor and export run on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def plans(patch: Sequence[int], spacing_mm: Sequence[float]) -> dict[str, Any]:
    """The part of nnU-Net's plans file that prediction and export read; resampling is its default."""
    return {
        "dataset_name": "Dataset000_Benchmark",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {
                "patch_size": list(patch),
                "spacing": list(spacing_mm),
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": _RESAMPLING,
                "architecture": {},
            }
        },
    }


def dataset(classes: int) -> dict[str, Any]:
    """nnU-Net's dataset.json for `classes` classes, the background among them."""
    return {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, **{f"structure {n}": n for n in range(1, classes)}},
    }


def properties(shape: Sequence[int], spacing_mm: Sequence[float]) -> dict[str, Any]:
    """What nnU-Net's preprocessing would have written down about a volume that it did not crop."""
    return {
        "spacing": list(spacing_mm),
        "shape_before_cropping": tuple(shape),
        "shape_after_cropping_and_before_resampling": tuple(shape),
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }
