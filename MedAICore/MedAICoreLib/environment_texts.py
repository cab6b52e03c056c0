"""What the panel of the environment says: the question, what is installed, how far the work is, what went wrong."""

import html

from slicer.i18n import tr as _

from medai.errors import MedAIError
from MedAICoreLib.environment import Kind, Operation, Plan, Status, megabytes

OPERATIONS = {
    "build": lambda: _("Installing"),
    "install_pack": lambda: _("Installing from the pack"),
    "check": lambda: _("Checking"),
    "probe": lambda: _("Trying the interpreter"),
    "repair": lambda: _("Repairing"),
    "remove": lambda: _("Removing"),
    "pack": lambda: _("Writing the pack"),
}


def headline(status: Status, interpreter: str = "") -> str:
    """One line: what there is."""
    if interpreter:
        return _("MedAI computes in a Python of your own.")
    return {
        Kind.ABSENT: lambda: _("MedAI needs to load its networks' software once."),
        Kind.READY: lambda: _("MedAI is ready."),
        Kind.OUTDATED: lambda: _("MedAI was updated: its software should be updated too."),
        Kind.BUSY: lambda: _("Another Slicer is installing MedAI's software."),
        Kind.INTERRUPTED: lambda: _("The installation was interrupted and can be continued."),
        Kind.BROKEN: lambda: _("MedAI's software is damaged."),
        Kind.UNSUPPORTED: lambda: _("MedAI's software is not available for this computer."),
    }[status.kind]()


def failedHeadline(operation: Operation) -> str:
    """One line: what did not work."""
    name = OPERATIONS.get(operation.name, lambda: operation.name)()
    return _("{operation} failed.").format(operation=name)


def question(plan: Plan) -> str:
    """The one question: what, how much, from where, into which folder, how much space (HTML)."""
    rows = [(item.name, megabytes(item.download_bytes), item.source) for item in plan.items]
    cells = "".join(
        f"<tr><td>{html.escape(name)}&nbsp;&nbsp;</td><td align='right'>{html.escape(size)}&nbsp;&nbsp;</td>"
        f"<td>{html.escape(source)}</td></tr>"
        for name, size, source in rows
    )
    text = _("Load about {size} and install it? It goes into a folder of its own; Slicer's Python is not changed.")
    space = _("Needs about {needed} in <i>{folder}</i> ({free} are free). It can be removed here at any time.")
    needed, free = megabytes(plan.disk_bytes), megabytes(plan.free_bytes)
    first = html.escape(text.format(size=megabytes(plan.download_bytes)))
    last = space.format(needed=needed, folder=breakable(str(plan.folder)), free=free)
    return f"<p>{first}</p><table>{cells}</table><p>{last}</p>"


def breakable(path: str) -> str:
    """A path that may be broken behind its separators where the panel is narrow (HTML)."""
    return html.escape(path).replace("/", "/&#8203;").replace("\\", "\\&#8203;")


def installedText(status: Status, interpreter: str = "") -> str:
    """What is installed: versions, devices, size, folder, warnings (HTML); empty where nothing is."""
    if interpreter:
        return f"<p><i>{breakable(interpreter)}</i></p>"
    built = status.built
    if built is None:
        return ""
    route = {
        "managed": lambda: _("loaded for MedAI"),
        "chosen": lambda: breakable(built.base),
        "slicer": lambda: _("Slicer's own"),
    }[built.route]()
    rows = [(_("Python"), f"{html.escape(built.versions.get('python', ''))} ({route})")]
    # Behind the first hyphen some packages name their source.
    shown = {name: version.split("-")[0] for name, version in built.versions.items() if name in _SHOWN}
    rows += [(name, html.escape(version)) for name, version in shown.items() if version]
    devices = [_("processor") if device == "cpu" else device for device in built.devices]
    rows.append((_("computes on"), html.escape(", ".join(devices)) or _("processor")))
    rows.append((_("size"), megabytes(built.size_bytes)))
    cells = "".join(f"<tr><td>{html.escape(name)}&nbsp;&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
    warnings = "".join(f"<p>{html.escape(warning)}</p>" for warning in built.warnings)
    return f"<table>{cells}</table>{warnings}"


_SHOWN = ("torch", "torch build", "monai", "openvino")


def progressLine(operation: Operation) -> str:
    """What is being done now."""
    name = OPERATIONS.get(operation.name, lambda: operation.name)()
    stage = operation.stage or _("preparing")
    return _("{operation}: {stage}").format(operation=name, stage=stage)


def failureText(error: MedAIError) -> str:
    """What went wrong and what to do (HTML)."""
    return f"<p><b>{html.escape(error.message)}</b></p><p>{html.escape(error.remedy)}</p>"
