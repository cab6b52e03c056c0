"""Rules that no linter checks for us: docstrings, prints, swallowed errors, pickles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from architecture.source_tree import MEDAI, medai_files, name_of, parse, slicer_side_files

ALL_FILES = [*medai_files(), *slicer_side_files()]
# What a person reads on a terminal is written here.
MAY_PRINT = (MEDAI / "demo", MEDAI / "cli")
FORBIDDEN_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "manager.py", "misc.py", "common.py"}


def public_definitions(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public classes and functions of a module and the public methods of its public classes, properties included."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                        yield member


def has_docstring_or_inherits(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Setters and methods marked as overriding are described where they are declared."""
    decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return bool(ast.get_docstring(node)) or bool(decorators & {"setter", "override", "overload"})


def swallowed_errors(tree: ast.Module) -> list[int]:
    """Lines of bare `except:` and of handlers of every exception that do nothing."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            does_nothing = all(
                isinstance(statement, ast.Pass | ast.Continue)
                or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
                for statement in node.body
            )
            if node.type is None or (everything and does_nothing):
                lines.append(node.lineno)
    return lines


def calls(tree: ast.Module, *names: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]


@pytest.mark.parametrize("path", medai_files(), ids=name_of)
def test_public_names_have_docstrings(path: Path) -> None:
    tree = parse(path)
    missing = [
        f"line {node.lineno}: {node.name}" for node in public_definitions(tree) if not has_docstring_or_inherits(node)
    ]
    assert ast.get_docstring(tree), "the module has no docstring"
    assert not missing


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_library_code_does_not_print(path: Path) -> None:
    if not any(path.is_relative_to(place) for place in MAY_PRINT):
        assert not [call.lineno for call in calls(parse(path), "print")], "log instead"


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_no_error_is_swallowed(path: Path) -> None:
    assert not swallowed_errors(parse(path))


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_data_is_never_code(path: Path) -> None:
    """Opening a file runs nothing: no pickles, and torch.load only for weights."""
    tree = parse(path)
    for call in calls(tree, "torch.load"):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert keywords.get("weights_only") == "True", f"line {call.lineno}"
    assert not [call.lineno for call in calls(tree, "pickle.load", "pickle.loads", "eval", "exec")]
    for call in calls(tree, "np.load", "numpy.load"):
        assert not any(
            keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False" for keyword in call.keywords
        )


def test_files_are_named_for_what_they_hold() -> None:
    assert not [name_of(path) for path in ALL_FILES if path.name in FORBIDDEN_NAMES]


def test_no_star_imports() -> None:
    stars = [
        f"{name_of(path)}:{node.lineno}"
        for path in ALL_FILES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        and any(alias.name == "*" for alias in node.names)
        and node.module != "SegmentEditorEffects"  # the only way that Slicer offers
    ]
    assert not stars


def test_the_rules_see_what_they_forbid() -> None:
    bad = ast.parse("try:\n    x = 1\nexcept Exception:\n    pass\ntry:\n    x = 1\nexcept:\n    x = 2\ndef f(): ...\n")
    assert swallowed_errors(bad) == [3, 7]
    assert [node.name for node in public_definitions(bad) if not has_docstring_or_inherits(node)] == ["f"]
