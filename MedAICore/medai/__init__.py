"""MedAI: segment, classify and train on medical images, in 3D Slicer and from a command line.

Importing this package needs nothing beyond the standard library and numpy.
"""

__version__ = "0.1.0"
