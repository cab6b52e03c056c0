"""Slicer-side code that MedAI's modules share: settings, the worker, the model catalogue, the progress text."""
