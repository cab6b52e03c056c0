"""Work on the cases of the open scene and of scene files, one after the other, in steps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from medai.case_report import Finding
from medai.errors import MedAIError, OutputError
from medai.mrml.labelled_nodes import CaseProblem
from medai.mrml.labelled_scenes import loaded_scene
from medai.mrml.labelled_table import LabelledCase

T = TypeVar("T")
Work = Callable[[Any, LabelledCase], Generator[float, None, T]]


def visit(
    scene: Any, cases: Sequence[LabelledCase], work: Work[T]
) -> Generator[float, None, tuple[dict[str, T], list[Finding]]]:
    """Do `work` on every case, in the scene that it belongs to; yields the fraction done.

    Returns what the work gave, by the case's name in the order of `cases`, and a finding for each case that cannot be
    read. Each scene file is loaded once, in one step; an OutputError ends everything.
    """
    results: dict[str, T] = {}
    findings: list[Finding] = []
    done = 0
    for source in dict.fromkeys(case.source for case in cases):
        mine = [case for case in cases if case.source == source]
        try:
            with loaded_scene(source, scene) if source else nullcontext(scene) as place:
                for case in mine:
                    steps = _tried(work(place, case), case, results, findings)
                    for fraction in steps:
                        yield (done + fraction) / len(cases)
                    done += 1
        except OutputError:
            raise
        except MedAIError as error:
            findings += [finding_of(case.name, error) for case in mine]
            done += len(mine)
        yield done / len(cases)
    order = {case.name: n for n, case in enumerate(cases)}
    return dict(sorted(results.items(), key=lambda item: order[item[0]])), findings


def _tried(
    steps: Generator[float, None, T], case: LabelledCase, results: dict[str, T], findings: list[Finding]
) -> Generator[float, None, None]:
    try:
        results[case.name] = yield from steps
    except OutputError:
        raise
    except MedAIError as error:
        findings.append(finding_of(case.name, error))


def finding_of(case: str, error: MedAIError) -> Finding:
    """The finding that a case cannot be read."""
    kind = error.kind if isinstance(error, CaseProblem) else "unreadable"
    return Finding(case, "error", kind, error.message, error.remedy)
