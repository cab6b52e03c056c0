"""Reduce the recorded facts about Slicer's Python interface to what the test host reads.

Run as ``python -m host.facts.build FOLDER``; FOLDER holds ``pythonqt_behaviour.json`` (expressions evaluated in a
real PythonQt with CTK) and ``slicer_widget_api.json`` (read from the headers of Slicer and CTK).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _signatures(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry["name"], []).append(f"{entry['name']}({entry['args']})")
    return found


def _declared_class(name: str, classes: dict[str, Any]) -> dict[str, Any]:
    """Collect what one class of the headers declares, its non-Qt bases included."""
    chain = [name, *[base for base in classes[name]["base_chain"] if base in classes]]
    effective = classes[name]["effective"]
    merged: dict[str, Any] = {
        "base": effective["qt_base"],
        "properties": effective["properties"],
        "slots": sorted({*effective["slots"], *effective["invokable"]} - {*effective["shadowed_by_property"]}),
        "signals": effective["signals"],
        "cpp_only": sorted({*effective["property_accessors_not_invokable"], *effective["cpp_only_methods"]}),
        "signal_signatures": {},
        "slot_signatures": {},
        "enums": {},
    }
    for part in chain:
        entry = classes[part]
        for key, source in (("signal_signatures", ["signals"]), ("slot_signatures", ["public_slots", "invokable"])):
            for group in source:
                for method, texts in _signatures(entry[group]).items():
                    merged[key].setdefault(method, []).extend(t for t in texts)
        for enumeration in entry["enums"]:
            if enumeration["name"] in entry["q_enums"] or not entry["q_enums"]:
                merged["enums"][enumeration["name"]] = enumeration.get("values", [])
    return merged


def main(source: Path) -> None:
    """Write qt.json, slicer.json and records.json beside this file."""
    observed = json.loads((source / "pythonqt_behaviour.json").read_text())
    declared = json.loads((source / "slicer_widget_api.json").read_text())["classes"]
    keep = ("properties", "slots", "signals", "signal_signatures", "base")
    surface = {
        name: {
            **{key: entry[key] for key in keep},
            "properties": {p: v[:2] for p, v in entry["properties"].items()},
        }
        for name, entry in observed["surface"].items()
        if "properties" in entry
    }
    qt = {
        "surface": surface,
        "reads_none": observed["properties_reading_None_because_of_type"],
        "qt_names": observed["qt_module_names"]["primary"],
    }
    slicer = {name: _declared_class(name, declared) for name in declared}
    fields = ("id", "area", "code", "result", "exception", "crash", "needs")
    records = [{k: r[k] for k in fields if k in r} for r in observed["records"]]
    for name, value in (("qt", qt), ("slicer", slicer), ("records", records)):
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        (HERE / f"{name}.json").write_text(text.replace('},{"area"', '},\n{"area"') + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
