"""Slicer-side code that MedAI's modules share: settings, environment, worker, model catalogue, progress text."""
