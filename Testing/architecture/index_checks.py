"""The rules of Slicer's extensions index, tier 1 and tier 3, as far as files can tell.

    python Testing/architecture/index_checks.py

prints each rule with "green" or "red" and what is wrong, then what only a person can check; it ends with 1 where a rule
is red. `test_index.py` runs the same rules.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlparse
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.cmake_lists import MODULES
from architecture.source_tree import (
    REPOSITORY,
    SLICER_BRINGS,
    imports,
    medai_files,
    parse,
    slicer_side_files,
)

NAME = "MedAI"
MEGABYTE = 2**20
# The index's list of categories, as far as one of ours could ever be chosen from it.
CATEGORIES = {"Segmentation", "Quantification", "Neuroimaging", "Utilities", "Analysis", "Active Learning"}
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
REQUIRED_KEYS = {"$schema", "category", "scm_url"}
OPTIONAL_KEYS = {
    "build_dependencies", "build_subdirectory", "dicom_support_rule", "enabled", "scm_revision", "scm_type", "tier",
}  # fmt: skip
BINARIES = {".exe", ".dll", ".so", ".dylib", ".whl", ".pyd", ".pyc", ".zip", ".gz", ".jar", ".pt", ".pth", ".pkl"}
PERMISSIVE = {"Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0"}
BY_HAND = (
    "the repository has the topic 3d-slicer-extension, and unused GitHub features are hidden",
    "the addresses of CMakeLists.txt answer with pictures once the repository is public",
    "Slicer's own builders package and test it on Windows, macOS and Linux",
    "maintainers answer issues and mentions in the forum",
)


@dataclass(frozen=True)
class Rule:
    """One rule: the tier that asks for it, what it asks for, and what finds where it is broken."""

    tier: int
    text: str
    check: Callable[[], Iterator[str]]


RULES: list[Rule] = []


def rule(tier: int, text: str) -> Callable[[Callable[[], Iterator[str]]], Callable[[], Iterator[str]]]:
    """Add a function that yields what is wrong to the rules."""

    def add(check: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
        RULES.append(Rule(tier, text, check))
        return check

    return add


# What the rules look at


def read(name: str) -> str:
    """A text file of the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


@cache
def extension_values() -> dict[str, str]:
    """The EXTENSION_ variables, read as the index reads them: one text on one line."""
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]*)"\)$', read("CMakeLists.txt"), flags=re.MULTILINE))


@cache
def entry() -> dict[str, object]:
    """The entry of the index."""
    return dict(json.loads(read(f"{NAME}.json")))


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files in the git index that are still on disk; without git, every file of the tree."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
        paths = [REPOSITORY / name for name in listed.decode("utf-8").split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in REPOSITORY.rglob("*") if not {".venv", ".git", "demo"} & set(path.parts)]
    return tuple(path for path in paths if path.is_file())


def picture_path(url: str) -> Path:
    """Where a picture of the published repository lies here."""
    return REPOSITORY.joinpath(*Path(urlparse(url).path).parts[4:])  # /owner/repository/branch/path


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a PNG file, None for anything else."""
    head = path.read_bytes()[:24]
    if not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@cache
def shipped_models() -> dict[str, str]:
    """{id: licence} of the models that come with the extension."""
    cards = (REPOSITORY / "MedAICore" / "medai" / "resources" / "models").glob("*/model.json")
    return {card["id"]: card["licence"] for card in (json.loads(path.read_text(encoding="utf-8")) for path in cards)}


@cache
def module_texts(module: str) -> dict[str, str]:
    """What the module's class sets on its parent: {attribute: source of the value}."""
    tree = parse(REPOSITORY / module / f"{module}.py")
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            target = node.targets[0]
            if ast.unparse(target.value) in ("parent", "self.parent"):
                found[target.attr] = ast.unparse(node.value)
    return found


def visible_modules() -> list[str]:
    """Modules that a person finds in Slicer's menu."""
    return [module for module in MODULES if module_texts(module).get("hidden") != "True"]


def title_of(module: str) -> str:
    """The module's name as the menu shows it."""
    return str(ast.literal_eval(module_texts(module)["title"]))


# Tier 1


@rule(1, "the extension has a sensible name that does not begin with Slicer, the project and the entry have the same")
def _names() -> Iterator[str]:
    found = re.search(r"^project\((\w+)\)$", read("CMakeLists.txt"), flags=re.MULTILINE)
    if not found or found[1] != NAME or NAME.startswith("Slicer"):
        yield f"project is {found and found[1]}"


@rule(1, "the repository is called Slicer..., its address is https")
def _repository() -> Iterator[str]:
    url = urlparse(str(entry()["scm_url"]))
    if url.scheme not in ("https", "git") or not Path(url.path).name.startswith("Slicer"):
        yield str(entry()["scm_url"])
    if not extension_values()["HOMEPAGE"].startswith("https://"):
        yield extension_values()["HOMEPAGE"]


@rule(1, "the entry follows schema 1.0.2, has LF line ends and a known category")
def _entry() -> Iterator[str]:
    if b"\r" in (REPOSITORY / f"{NAME}.json").read_bytes():
        yield "CR in the file"
    if not REQUIRED_KEYS <= set(entry()) <= REQUIRED_KEYS | OPTIONAL_KEYS:
        yield f"keys {sorted(entry())}"
    if entry()["$schema"] != SCHEMA or entry()["category"] not in CATEGORIES or entry().get("tier") not in range(1, 6):
        yield f"{entry()['$schema']}, {entry()['category']}, tier {entry().get('tier')}"


@rule(1, "each EXTENSION_ variable is one `set` with one text on one line; none is missing, none is outdated")
def _variables() -> Iterator[str]:
    values = extension_values()
    if len(values) != read("CMakeLists.txt").count("set(EXTENSION_"):
        yield "a set(EXTENSION_...) is not on one line"
    needed = {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    yield from (f"{name} is missing or empty" for name in sorted(needed) if not values.get(name))
    if "CATEGORY" in values:
        yield "EXTENSION_CATEGORY: the category is in the entry only"


@rule(1, "the entry's dependencies are those of CMakeLists.txt")
def _dependencies() -> Iterator[str]:
    depends = extension_values()["DEPENDS"]
    if entry().get("build_dependencies") != ([] if depends == "NA" else depends.split()):
        yield f"{entry().get('build_dependencies')} and {depends}"


@rule(1, "the description is one or two sentences")
def _description() -> Iterator[str]:
    sentences = re.findall(r"[.!?](?:\s|$)", extension_values()["DESCRIPTION"])
    if not 1 <= len(sentences) <= 2:
        yield f"{len(sentences)} sentences"


@rule(1, "licences that are not permissive are named in the description")
def _restrictive() -> Iterator[str]:
    for model, licence in shipped_models().items():
        text = extension_values()["DESCRIPTION"]
        if licence not in PERMISSIVE and not (model in text and licence in text):
            yield f"{model}: {licence}"


@rule(1, "the icon is a PNG of 128 x 128 in the repository")
def _icon() -> Iterator[str]:
    url = extension_values()["ICONURL"]
    path = picture_path(url)
    if not path.is_file() or picture_size(path) != (128, 128) or urlparse(url).query:
        yield url


@rule(1, "there are screenshots: PNG files of the repository below 300 kB, by raw https addresses without a query")
def _screenshots() -> Iterator[str]:
    for url in extension_values()["SCREENSHOTURLS"].split():
        path, parts = picture_path(url), urlparse(url)
        if parts.netloc != "raw.githubusercontent.com" or parts.scheme != "https" or parts.query:
            yield f"{url} is no raw address"
        elif not path.is_file() or picture_size(path) is None:
            yield f"{url} would not be found"
        elif path.stat().st_size >= 300_000:
            yield f"{path.name} has {path.stat().st_size} bytes"


@rule(1, "every picture of Screenshots/ is below 300 kB and shown somewhere")
def _pictures() -> Iterator[str]:
    pages = [
        read(str(path.relative_to(REPOSITORY))) for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"))
    ]
    shown = "\n".join([*pages, *extension_values().values()])
    for path in sorted((REPOSITORY / "Screenshots").glob("*.png")):
        if path.stat().st_size >= 300_000:
            yield f"{path.name} has {path.stat().st_size} bytes"
        if path.name not in shown:
            yield f"{path.name} is shown nowhere"


@rule(1, "a licence file is at the top, and the home page names the licence")
def _licence() -> Iterator[str]:
    names = ("LICENSE", "LICENCE", "LICENSE.txt", "License.txt", "COPYING")
    if not any((REPOSITORY / name).is_file() for name in names):
        yield "no licence file"
    if "Apache-2.0" not in read("README.md"):
        yield "README does not name it"


@rule(1, "the home page has name, picture, how to cite, a safety note")
def _home_page() -> Iterator[str]:
    text = read("README.md")
    needed = {
        "its name as the title": rf"\A# .*{NAME}",
        "a picture": r"!\[[^\]]+\]\(Screenshots/",
        "how to cite": r"^## How to cite",
        "that it is no medical device": r"[Nn]ot a medical device",
    }
    yield from (f"{what} is missing" for what, pattern in needed.items() if not re.search(pattern, text, re.MULTILINE))


@rule(1, "the home page has a sentence for every module that a person finds")
def _modules() -> Iterator[str]:
    lines = read("README.md").splitlines()
    for module in MODULES:
        if not any(f"`{module}`" in line and len(line) > 60 for line in lines):
            yield module


@rule(1, "the home page says what is downloaded, from where, how big, and how to remove it")
def _downloads() -> Iterator[str]:
    found = re.search(r"^## What MedAI downloads.*?(?=^## )", read("README.md"), re.MULTILINE | re.DOTALL)
    text = found[0] if found else ""
    for word in ("PyPI", r"(?i)\bremove", r"\d (?:GB|MB)", r"(?i)upload"):
        if not re.search(word, text):
            yield f"nothing about {word!r}"


@rule(1, "the repository is below 100 MB, with git's own files, and holds no binaries")
def _size() -> Iterator[str]:
    files = tracked_files()
    git = sum(path.stat().st_size for path in (REPOSITORY / ".git").rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in files) + git
    if total >= 100 * MEGABYTE:
        yield f"{total / MEGABYTE:.0f} MB"
    yield from (str(path.relative_to(REPOSITORY)) for path in files if path.suffix in BINARIES)


@rule(1, "importing runs nothing: modules, functions, classes and constants only at file scope")
def _file_scope() -> Iterator[str]:
    for path in slicer_side_files():
        for node in parse(path).body:
            if not _is_declaration(node):
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)[:60]}"


def _is_declaration(node: ast.stmt) -> bool:
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    if isinstance(node, kinds):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@rule(1, "at file scope, Slicer's side imports only what Slicer ships")
def _file_scope_imports() -> Iterator[str]:
    ours = {"medai", *(f"{module}Lib" for module in MODULES)}
    for path in slicer_side_files():
        for found in imports(path):
            if found.at_module_level and found.root not in SLICER_BRINGS | ours | sys.stdlib_module_names:
                yield f"{path.name}:{found.line}: {found.name}"


@rule(1, "nothing is installed into Slicer's own Python")
def _no_pip() -> Iterator[str]:
    for path in slicer_side_files():
        for node in ast.walk(parse(path)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ("pip_install", "pip_ensure", "pip_uninstall"):
                yield f"{path.name}:{node.lineno}: {name}"


@rule(1, "nothing is sent anywhere: no request with data, no upload, no socket of our own")
def _no_upload() -> Iterator[str]:
    forbidden = re.compile(r"requests\.(post|put|patch)|http\.client|smtplib|ftplib|socket\.socket|urlopen\([^)]*data=")
    for path in (*slicer_side_files(), *medai_files()):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if forbidden.search(line):
                yield f"{path.name}:{number}: {line.strip()}"


# Tier 3


@rule(3, "there is a tutorial for each module that a person finds, linked from the home page, with its data")
def _tutorials() -> Iterator[str]:
    pages = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", read("README.md")))
    tutorials = [read(page) for page in pages if (REPOSITORY / page).is_file()]
    for module in visible_modules():
        ours = [
            text for text in tutorials if title_of(module) in text and re.search(r"^## Tutorial", text, re.MULTILINE)
        ]
        if not ours:
            yield f"{title_of(module)} has no page with a section Tutorial"
        elif not any("Sample Data" in text for text in ours):
            yield f"the tutorial of {title_of(module)} does not say where its data are from"


@rule(3, "the tutorials' data are registered in Sample Data, by https address and SHA-256")
def _sample_data() -> Iterator[str]:
    source = read("MedAICore/MedAICoreLib/sample_data.py")
    digests = re.findall(r'"([0-9a-f]{64})"', source)
    if not digests or 'checksums=f"SHA256:' not in source or 'releases/download/SHA256"' not in source:
        yield "no sample with a SHA-256"
    for name in re.findall(r'(?<!_)name="(\w+)"', source):
        if not name.startswith(NAME):
            yield f"{name} could be taken for one of Slicer's own samples"


@rule(3, "logic knows no Qt and opens no window")
def _split() -> Iterator[str]:
    for path in slicer_side_files():
        if not re.fullmatch(r"(logic|parameters|\w*run|runs|exchange|volume_hints|channel_sender)\.py", path.name):
            continue
        for found in imports(path):
            if found.root in ("qt", "ctk"):
                yield f"{path.name}:{found.line} imports {found.root}"


@rule(3, "few popups: no message box where a line in the panel will do")
def _popups() -> Iterator[str]:
    popups = re.compile(r"(infoDisplay|warningDisplay|errorDisplay|QMessageBox\.(information|warning|critical))\(")
    for path in slicer_side_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if popups.search(line):
                yield f"{path.name}:{number}: {line.strip()}"


@rule(3, "no styles of our own: neither style sheets nor fixed colours in the panels")
def _styles() -> Iterator[str]:
    for path in (*slicer_side_files(), *REPOSITORY.glob("*/Resources/UI/*.ui")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"styleSheet|<palette>|setPalette", line):
                yield f"{path.name}:{number}: {line.strip()[:80]}"


@rule(3, "panels are qMRMLWidgets whose MRML widgets get the scene, with Apply off at first")
def _panels() -> Iterator[str]:
    for path in REPOSITORY.glob("*/Resources/UI/*.ui"):
        root = ElementTree.parse(path).getroot()
        top = root.find("widget")
        if top is None or top.get("class") != "qMRMLWidget":
            yield f"{path.name} is a {top is not None and top.get('class')}"
        connected = {
            c.findtext("receiver") for c in root.iter("connection") if "mrmlSceneChanged" in str(c.findtext("signal"))
        }
        for widget in root.iter("widget"):
            if (
                str(widget.get("class")).startswith("qMRML")
                and widget is not top
                and widget.get("name") not in connected
            ):
                yield f"{path.name}: {widget.get('name')} gets no scene"
            if widget.get("name") == "applyButton" and "false" not in [
                p.findtext("bool") for p in widget.findall("property") if p.get("name") == "enabled"
            ]:
                yield f"{path.name}: Apply is on"


@rule(3, "texts can be translated: none is put together before it is looked up")
def _translation() -> Iterator[str]:
    for path in slicer_side_files():
        for node in ast.walk(parse(path)):
            looked_up = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"
            if looked_up and not (node.args and isinstance(node.args[0], ast.Constant)):
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)[:60]}"


@rule(
    3, "every module has title, category, contributors, help and acknowledgement texts, an icon, generic and own tests"
)
def _module_files() -> Iterator[str]:
    for module in MODULES:
        texts, lists = module_texts(module), read(f"{module}/CMakeLists.txt")
        for name in ("title", "categories", "contributors", "helpText", "acknowledgementText"):
            if texts.get(name, "''") in ("''", "[]"):
                yield f"{module} has no {name}"
        if not list((REPOSITORY / module / "Resources" / "Icons").glob(f"{module}.*")):
            yield f"{module} has no icon"
        yield from (f"{module}: {w}" for w in ("WITH_GENERIC_TESTS", "slicer_add_python_unittest") if w not in lists)


@rule(3, "each shipped model has its licence beside it, named on the home page; data licences let it be passed on")
def _model_licences() -> Iterator[str]:
    home, folder = read("README.md"), REPOSITORY / "MedAICore" / "medai" / "resources" / "models"
    for model, licence in shipped_models().items():
        if not list((folder / model).glob("LICENSE*")):
            yield f"{model} has no licence file"
        if f"`{model}`" not in home or licence not in home:
            yield f"{model} ({licence}) is not on the home page"
        if "-NC" in licence or "-ND" in licence:
            yield f"{model}: {licence}"


@rule(3, "links and pictures of the pages lead somewhere")
def _links() -> Iterator[str]:
    for page in (REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                yield f"{page.name}: {target}"


def main() -> int:
    """Print every rule; the exit code."""
    red = 0
    for entry_ in sorted(RULES, key=lambda item: item.tier):
        problems = list(entry_.check())
        red += bool(problems)
        print(f"{'red  ' if problems else 'green'}  tier {entry_.tier}  {entry_.text}")
        for problem in problems:
            print(f"              {problem}")
    for text in BY_HAND:
        print(f"by hand        {text}")
    print(f"{len(RULES) - red} of {len(RULES)} rules green")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
