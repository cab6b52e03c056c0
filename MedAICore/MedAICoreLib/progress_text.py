"""Progress and duration as a person reads them."""

from slicer.i18n import tr as _


def durationText(seconds: float) -> str:
    """``8 s``, ``2 min 5 s`` or ``1 h 3 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def progressText(stage: str, etaSeconds: "float | None") -> str:
    """The stage, with the time left where it is known."""
    if etaSeconds is None:
        return stage
    return _("{stage} - about {time} left").format(stage=stage, time=durationText(etaSeconds))
