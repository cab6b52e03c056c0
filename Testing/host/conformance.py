"""Replays the expressions recorded from the real PythonQt and compares: ``python -m host.conformance``."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import facts

SECONDS_PER_RECORD = 20
_ADDRESS = re.compile(r"0x[0-9a-f]{4,}")
_QT5_ONLY = re.compile(
    r"\b(QRegExp\w*|QDesktopWidget|qrand|qsrand|QTextCodec|QMatrix\b|MidButton|setFilterRegExp|DontUseNativeDialog|filterRegExp|QStringRef)"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one record: agree, disagree or not_applicable, and why."""

    id: str
    area: str
    verdict: str
    reason: str = ""


def classes_named(code: str) -> set[str]:
    """Class names that an expression uses (qt.X, ctk.X)."""
    return set(re.findall(r"\b(?:qt|ctk|slicer)\.((?:Q|ctk|q)[A-Za-z0-9]+)", code))


def used_classes(root: Path) -> set[str]:
    """Qt, CTK and Slicer classes that the extension's panels use: in .ui files and in Python."""
    found: set[str] = set()
    for folder in root.glob("*MedAI*"):
        for ui in folder.rglob("*.ui"):
            found |= set(re.findall(r'<(?:widget|layout) class="(\w+)"', ui.read_text(encoding="utf-8")))
        for source in folder.rglob("*.py"):
            if "medai" not in source.relative_to(folder).parts:
                found |= classes_named(source.read_text(encoding="utf-8"))
    return found


def _namespace(folder: str) -> dict[str, Any]:
    import gc
    import os

    import ctk
    import qt

    from . import recorded_emitter
    from .binding import wrapper
    from .event_loop import wait_until

    def pump(milliseconds: float = 30.0) -> None:
        end = time.perf_counter() + milliseconds / 1000.0
        wait_until(lambda: time.perf_counter() >= end, seconds=60)

    return {
        "qt": qt, "ctk": ctk, "gc": gc, "os": os, "sys": sys, "pump": pump,
        "emitter": wrapper.class_for("Emitter")(), "cppWidget": recorded_emitter.make_cpp_widget(),
    }  # fmt: skip


def evaluate(record: dict[str, Any], folder: str) -> Outcome:
    """Run one record in this process."""
    if "crash" in record:
        return Outcome(record["id"], record["area"], "not_applicable", "the recorded expression crashed the process")
    if _QT5_ONLY.search(record["code"]):
        return Outcome(record["id"], record["area"], "not_applicable", "names something that Qt 6 removed")
    if re.search(r"\$TMP/\w+\.ui", record["code"]):
        return Outcome(record["id"], record["area"], "not_applicable", "needs a .ui file that was not recorded")
    if "$CTK_DESIGNER_PLUGINS" in record["code"] or "PythonQt" in record.get("needs", []):
        return Outcome(record["id"], record["area"], "not_applicable", "needs the recording's own build")
    code = record["code"].replace("$TMP", folder)
    tree = ast.parse(code)
    expression = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    names = _namespace(folder)
    try:
        exec(compile(tree, "record", "exec"), names)
        value = eval(compile(expression, "record", "eval"), names) if expression else None
        shown, raised = _ADDRESS.sub("0xADDR", repr(value)).replace(folder, "$TMP"), None
    except Exception as error:  # noqa: BLE001 - any exception is a result here
        shown, raised = str(error), type(error).__name__
    return _compare(record, shown, raised)


def _compare(record: dict[str, Any], shown: str, raised: str | None) -> Outcome:
    wanted_error = record.get("exception")
    if raised == wanted_error and (raised is not None or shown == record["result"]):
        return Outcome(record["id"], record["area"], "agree")
    wanted = wanted_error or record["result"]
    got = f"{raised}: {shown}" if raised else shown
    return Outcome(record["id"], record["area"], "disagree", f"recorded {wanted[:90]}; here {got[:140]}")


def _child(first: int, path: str) -> None:
    from . import start

    host = start()
    from . import recorded_emitter

    recorded_emitter.register()
    with tempfile.TemporaryDirectory() as folder, open(path, "a", encoding="utf-8") as out:
        for index, record in enumerate(facts.load("records")):
            if index < first:
                continue
            out.write(json.dumps({"start": index}) + "\n")
            out.flush()
            outcome = evaluate(record, folder)
            out.write(json.dumps({"index": index, **outcome.__dict__}) + "\n")
            out.flush()
            host.log.take()


def replay() -> list[Outcome]:
    """Replay all records in child processes; one that dies or hangs counts as a disagreement and the next goes on."""
    records = facts.load("records")
    outcomes: dict[int, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.jsonl"
        first = 0
        while first < len(records):
            path.write_text("")
            command = [sys.executable, "-m", "host.conformance", "--child", str(first), str(path)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_folder())
            died = _watch(process, path)
            started = first - 1
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if "start" in entry:
                    started = entry["start"]
                else:
                    index = entry.pop("index")
                    outcomes[index] = Outcome(**entry)
            if started not in outcomes and started >= 0:
                record = records[started]
                outcomes[started] = Outcome(record["id"], record["area"], "disagree", died)
            if started < first:
                raise RuntimeError(f"The replay process did not start ({died}).")
            first = started + 1
    return [outcomes[i] for i in range(len(records))]


def _folder() -> str:
    return str(Path(__file__).resolve().parents[1])


def _watch(process: subprocess.Popen[bytes], path: Path) -> str:
    size = -1
    while True:
        try:
            process.wait(timeout=SECONDS_PER_RECORD)
            return f"the process ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            if path.stat().st_size == size:
                process.kill()
                process.wait()
                return f"no result within {SECONDS_PER_RECORD} s"
            size = path.stat().st_size


def share(outcomes: list[Outcome]) -> tuple[int, int]:
    """Number that agree and number that apply."""
    applicable = [o for o in outcomes if o.verdict != "not_applicable"]
    return sum(o.verdict == "agree" for o in applicable), len(applicable)


def of_used_classes(outcomes: list[Outcome], used: set[str]) -> list[Outcome]:
    """Outcomes of the records that name only classes which the extension uses, and at least one."""
    by_id = {r["id"]: classes_named(r["code"]) for r in facts.load("records")}
    return [o for o in outcomes if by_id[o.id] and by_id[o.id] <= used]


def table(outcomes: list[Outcome]) -> str:
    """Agreement by area."""
    areas: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        areas[outcome.area][outcome.verdict] += 1
    lines = [f"{'area':28}{'agree':>7}{'disagree':>10}{'n/a':>6}{'share':>8}"]
    for area, counts in sorted(areas.items()):
        applicable = counts["agree"] + counts["disagree"]
        part = 100.0 * counts["agree"] / applicable if applicable else 100.0
        lines.append(f"{area:28}{counts['agree']:7}{counts['disagree']:10}{counts['not_applicable']:6}{part:7.1f}%")
    agree, applicable = share(outcomes)
    rest = len(outcomes) - applicable
    lines.append(f"{'all':28}{agree:7}{applicable - agree:10}{rest:6}{100.0 * agree / applicable:7.1f}%")
    return "\n".join(lines)


def main() -> None:
    """Print the table and the disagreements."""
    outcomes = replay()
    used = used_classes(Path(_folder()).parent)
    print(table(outcomes))
    agree, applicable = share(of_used_classes(outcomes, used))
    print(f"\nrecords of the {len(used)} classes that the extension uses: {agree} of {applicable} agree")
    print("\nDisagreements:")
    for outcome in outcomes:
        if outcome.verdict == "disagree":
            print(f"  {outcome.id}: {outcome.reason}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(int(sys.argv[2]), sys.argv[3])
    else:
        main()
