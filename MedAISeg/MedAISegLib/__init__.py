"""Widget, logic and parameters of the MedAI Segmentation module."""
