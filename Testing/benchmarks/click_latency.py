"""How long a click takes, from the request to the updated segmentation node, in the test host with a real worker.

    python Testing/benchmarks/click_latency.py [--model ID] [--clicks 10] [--shape 300,512,512] [--radii 10,25,50]

The volume holds a ball for each radius (mm), which sets how large the region is that the engine has to look at. For
each ball a session's segment is made by clicks: the first in the middle, then around it, each fourth one outside. What
is printed: the first opening (it starts the worker and sends the volume), a second one (the worker is warm), and per
radius and engine the median and the 95th percentile of the clicks, with the worker's own share.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("Testing", "MedAICore", "MedAISeg")]
SPACING_IJK = (0.75, 0.75, 1.0)


def volume_of(shape: tuple[int, int, int], radii: list[float]) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """A noisy volume (k, j, i) with a ball per radius, and the balls' middles."""
    generator = np.random.default_rng(3)
    voxels = generator.normal(40, 12, shape).astype(np.int16)
    centers = []
    for n, radius in enumerate(radii):
        center = (shape[0] // 2, shape[1] // 2, round(shape[2] * (n + 0.5) / len(radii)))
        reach = [int(radius / s) + 2 for s in SPACING_IJK[::-1]]
        box = tuple(slice(max(0, c - r), min(m, c + r + 1)) for c, r, m in zip(center, reach, shape, strict=True))
        grid = np.ogrid[box]
        distance = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, SPACING_IJK[::-1], strict=True))
        voxels[box] += np.where(distance < radius**2, 120, 0).astype(np.int16)
        centers.append(center)
    return voxels, centers


def clicks_of(center: tuple[int, int, int], radius: float, count: int) -> list[tuple[np.ndarray, bool]]:
    """Places (k, j, i) and polarities: the middle, then inside, each fourth one just outside."""
    generator = np.random.default_rng(5)
    found = [(np.array(center, float), True)]
    for n in range(1, count):
        direction = generator.normal(size=3)
        direction /= np.linalg.norm(direction)
        positive = n % 4 != 3
        length = radius * (0.6 if positive else 1.25)
        found.append((np.array(center) + direction * length / np.array(SPACING_IJK[::-1]), positive))
    return found


class Latency:
    """Sessions with a real worker process."""

    def __init__(self, voxels: np.ndarray, model: str) -> None:
        from host import start

        start().reset()
        import slicer

        from medai.client import ChildProcessTransport, Client
        from medai.image import Image
        from medai.mrml import volume_from_image

        self.model = model
        self.scene = slicer.mrmlScene
        self.volume = volume_from_image(self.scene, Image(voxels[None], np.diag([*SPACING_IJK, 1.0])), "benchmark")
        self.client = Client(ChildProcessTransport(sys.executable))

    def open(self) -> tuple[Any, float]:
        """A session that is ready, and the seconds that it took."""
        from MedAISegLib.click_session import ClickSession, ClickSettings
        from MedAISegLib.click_target import SegmentTarget

        started = time.perf_counter()
        target = SegmentTarget(self.scene)
        session = ClickSession(self.client, self.scene, self.volume.GetID(), target, ClickSettings(self.model))
        session.start()
        self.finish(session)
        return session, time.perf_counter() - started

    def finish(self, session: Any) -> None:
        """Advance as the panel's timer does, every few milliseconds."""
        while session.advance():
            time.sleep(0.002)
        if session.error is not None:
            raise session.error

    def click(self, session: Any, kji: np.ndarray, positive: bool) -> float:
        """Seconds from the request to the updated node."""
        from MedAISegLib.click_prompts import PlacedPrompt

        ras = tuple(float(x) for x in kji[::-1] * np.array(SPACING_IJK))
        session.add(PlacedPrompt("point", positive, (ras,)))
        self.finish(session)
        return float(session.done[-1].seconds)


def measure(shape: tuple[int, int, int], radii: list[float], clicks: int, model: str) -> dict[str, Any]:
    """All figures of one engine."""
    voxels, centers = volume_of(shape, radii)
    bench = Latency(voxels, model)
    session, first = bench.open()
    session.close()
    session, second = bench.open()
    rows = []
    for radius, center in zip(radii, centers, strict=True):
        seconds = [bench.click(session, kji, positive) for kji, positive in clicks_of(center, radius, clicks)]
        box = session.done[-1].box
        rows.append(
            {
                "radius_mm": radius,
                "roi_voxels": [box[1] - box[0], box[3] - box[2], box[5] - box[4]],
                "seconds_first": seconds[0],
                "seconds_median": statistics.median(seconds),
                "seconds_p95": float(np.percentile(seconds, 95)),
                "seconds_max": max(seconds),
            }
        )
        session.next()
        bench.finish(session)
    engine = session.engine
    session.close()
    bench.finish(session)
    bench.client.close()
    return {
        "engine": engine,
        "shape": shape,
        "clicks": clicks,
        "open_first_s": first,
        "open_second_s": second,
        "rows": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="", help="a click model, or grow-cut; default: the best that is there")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--shape", default="300,512,512", help="k,j,i")
    parser.add_argument("--radii", default="10,25,50", help="mm")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    k, j, i = (int(n) for n in options.shape.split(","))
    found = measure((k, j, i), [float(r) for r in options.radii.split(",")], options.clicks, options.model)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{found['engine']}, {i}x{j}x{k}: open {found['open_first_s']:.2f} s, again {found['open_second_s']:.2f} s")
    for row in found["rows"]:
        print(
            f"  ball of {row['radius_mm']:g} mm (box {row['roi_voxels']}): first {row['seconds_first']:.3f} s, median "
            f"{row['seconds_median']:.3f} s, 95 % {row['seconds_p95']:.3f} s"
        )


if __name__ == "__main__":
    main()
