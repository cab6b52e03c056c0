"""Comparison 4: labels into a segmentation node, its surfaces and its file, against Slicer's own classes."""

from __future__ import annotations

from typing import Any

from benchmarks.child import FOLDER, run_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table, clock, seconds, times, verdict
from benchmarks.settings import Settings

KEY = "scene"
COUNTS = (5, 100)


def run(settings: Settings) -> Section:
    """Measure nodes, files and surfaces with 5 and with 100 labels."""
    conditions = Conditions.now()
    shape = list(settings.choose((300, 512, 512), (30, 64, 64)))
    small = list(settings.choose((100, 256, 256), (20, 40, 40)))
    data = {str(count): _measure(shape, small, count) for count in COUNTS}
    by = clock(data)
    rows = [row for count in COUNTS for row in _rows(count, data[str(count)], small, by)]
    return Section(
        key=KEY,
        title=f"4. Segmentation nodes and files: {'x'.join(map(str, shape[::-1]))}",
        text=(
            "Ellipsoids that fill about a fifth of the volume. Slicer's side is slicer-core, the classes of the "
            "application: `ImportLabelmapToSegmentationNode` (a rerun removes the segments first; handing the voxels "
            "to VTK is not in its time, but in ours), the segmentation storage node with its default compression, "
            "`CreateClosedSurfaceRepresentation`. The fastest of two reruns."
        ),
        tables=(
            Table(
                (
                    "what",
                    "Slicer s",
                    "MedAI s",
                    "Slicer processor s",
                    "MedAI processor s",
                    "faster",
                    "Slicer extra MB",
                    "MedAI extra MB",
                ),
                tuple(rows),
            ),
        ),
        conditions=conditions,
        notes=_notes(data, by),
        data=data,
    )


def _measure(shape: list[int], small: list[int], count: int) -> dict[str, Any]:
    common = {"shape": shape, "count": count}
    found = {
        "nodes": {way: run_piece(f"scene_pieces:write_by_{way}", common) for way in ("slicer", "medai")},
        "surfaces": {
            way: run_piece("scene_pieces:surfaces", {"shape": small, "count": count, "ours": way == "medai"})
            for way in ("slicer", "medai")
        },
    }
    folder = FOLDER / "files"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {way: str(folder / f"{way}-{count}.seg.nrrd") for way in ("slicer", "medai")}
    found["files"] = {
        way: run_piece(f"scene_pieces:file_by_{way}", {**common, "path": path}) for way, path in paths.items()
    }
    found["read_back"] = run_piece("scene_pieces:read_back", {**common, "paths": list(paths.values())})
    return found


def _rows(count: int, data: dict[str, Any], small: list[int], by: str) -> list[tuple[str, ...]]:
    nodes, files, surfaces = data["nodes"], data["files"], data["surfaces"]
    sizes = ", ".join(f"{way} {files[way]['bytes'] / 2**20:.1f} MB" for way in ("slicer", "medai"))
    return [
        _row(f"{count} labels into a new node", nodes["slicer"]["first"], nodes["medai"]["first"], by),
        _row(f"{count} labels, rerun", nodes["slicer"]["again"], nodes["medai"]["again"], by),
        _row(f"{count} labels to .seg.nrrd ({sizes})", files["slicer"], files["medai"], by),
        _row(
            f"surfaces of {count} labels, {'x'.join(map(str, small[::-1]))} ({surfaces['slicer']['points']} and "
            f"{surfaces['medai']['points']} points)",
            surfaces["slicer"],
            surfaces["medai"],
            by,
        ),
    ]


def _row(name: str, peer: dict[str, float], ours: dict[str, float], by: str) -> tuple[str, ...]:
    return (
        name,
        seconds(peer["seconds"]),
        seconds(ours["seconds"]),
        seconds(peer["cpu_s"]),
        seconds(ours["cpu_s"]),
        times(ours[by], peer[by]),
        f"{peer['extra_mb']:.0f}",
        f"{ours['extra_mb']:.0f}",
    )


def _notes(data: dict[str, Any], by: str) -> tuple[str, ...]:
    hundred = data["100"]
    slowest = max(hundred["nodes"]["medai"][key][by] for key in ("first", "again"))
    files = hundred["files"]
    faster = files["slicer"][by] / files["medai"][by]
    voxels = all(d["nodes"][way]["identical"] for d in data.values() for way in ("slicer", "medai"))
    read = all(d["read_back"]["identical"] for d in data.values())
    return (
        verdict("Bar 100 labels in less than 0.5 s, also on a rerun", slowest < 0.5, f"{slowest:.2f} s"),
        verdict("Bar .seg.nrrd of 100 labels at least 10x faster", faster >= 10, f"{faster:.1f}x"),
        verdict("Every segment holds exactly its label's voxels, both ways", voxels, "yes" if voxels else "no"),
        verdict(
            "Both files read by Slicer's storage node: names, colours, geometry, voxels as written",
            read,
            "yes" if read else f"no: {[d['read_back']['files'] for d in data.values()]}",
        ),
    )
