"""Stand-ins for the widget classes of CTK and Slicer that the extension uses.

They are real Qt widgets. Which of their members Python may touch is decided by the recorded facts, not here: a name
that Slicer does not have raises even if a stand-in has it, and a name that Slicer has but the stand-in lacks raises
``NotImplementedError``.
"""

from __future__ import annotations

from host.binding import wrapper


def register_all() -> None:
    """Make the stand-ins available as ``ctk.*`` and ``slicer.*``."""
    from . import ctk_buttons, ctk_inputs, ctk_text, mrml_selectors, mrml_views, plot_views, slicer_widgets

    for module in (ctk_buttons, ctk_inputs, ctk_text, mrml_selectors, mrml_views, plot_views, slicer_widgets):
        for name, value in vars(module).items():
            if isinstance(value, type) and name.startswith(("ctk", "qMRML", "qSlicer")):
                wrapper.implementations[name] = value
