"""Removing: everything below the environment's folder that is ours, and the folder itself."""

from __future__ import annotations

import contextlib

from MedAICoreLib.environment.files import delete_tree
from MedAICoreLib.environment.operation import Part, Stage, Steps
from MedAICoreLib.environment.places import Places
from MedAICoreLib.environment.state import State, read_state, write_state


def remove(places: Places) -> Steps:
    """Delete the environment with uv, its interpreters and its cache. Interrupted, it is never taken for usable."""
    yield Stage("removing the environment", 0.0, 1.0)
    folders = places.environments()
    if read_state(places).built is not None:
        write_state(places, State(building=folders[0].name if folders else ""))
    ours = places.ours()
    # The state goes last: until then the next start finds what is left to be removed.
    ours.sort(key=lambda path: path == places.state)
    for number, path in enumerate(ours):
        yield Part(number / len(ours), path.name)
        yield from delete_tree(path)


def remove_empty(places: Places) -> None:
    """Delete the folder and MedAI's folder around it, unless there is something else in them."""
    for folder in (places.root, places.root.parent):
        with contextlib.suppress(OSError):  # not empty: the models of the person lie beside it
            folder.rmdir()
