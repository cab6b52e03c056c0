"""A strict stand-in for the 3D Slicer application: real MRML, real Qt, PythonQt's behaviour. See README.md."""

from .hosting import Host, HostError, start

__all__ = ["Host", "HostError", "start"]
