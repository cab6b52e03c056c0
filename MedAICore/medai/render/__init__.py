"""Pictures of segmentations by Slicer's own views, off-screen.

Needs trame-slicer, slicer-core and OpenGL: import it only where a picture is asked for.
"""

from medai.render.opengl import has_opengl
from medai.render.pictures import slice_picture, surface_picture

__all__ = ["has_opengl", "slice_picture", "surface_picture"]
