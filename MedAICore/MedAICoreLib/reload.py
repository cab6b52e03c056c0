"""Developer reload: Slicer executes only the module's file again, packages stay in `sys.modules`."""

from __future__ import annotations

import logging
import re
import sys

logger = logging.getLogger(__name__)

_OURS = re.compile(r"(medai|(MedAI|SegmentEditorMedAI)\w*Lib)(\.|$)")


def forget_packages() -> list[str]:
    """Remove `medai` and every MedAI...Lib package from `sys.modules`, so that the next import reads the files again.

    Call it first in a widget's `onReload`. Returns the names that were removed. Module files (MedAISeg, ...) are left:
    Slicer's own reload takes care of them.
    """
    names = sorted(name for name in sys.modules if _OURS.match(name))
    for name in names:
        del sys.modules[name]
    logger.info("Forgot %d modules of MedAI; they are read again on their next import.", len(names))
    return names
