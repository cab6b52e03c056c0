"""Pictures of segmentations and heat maps by Slicer's own views, off-screen.

Needs trame-slicer, slicer-core and OpenGL: import it only where a picture is asked for.
"""

from medai.render.heat_pictures import heat_map_picture
from medai.render.opengl import has_opengl
from medai.render.pictures import slice_picture, surface_picture

__all__ = ["has_opengl", "heat_map_picture", "slice_picture", "surface_picture"]
