"""``make demo``: both hippocampi of a head MR, from the file to volumes in mL, a Slicer scene and pictures."""
