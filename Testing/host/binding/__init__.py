"""Qt as PythonQt shows it, over PySide6: wrapper objects that behave as recorded from the real binding.

PySide6 itself is never patched. Each Qt object has one wrapper; what may be read, written, called or connected on it
comes from the recorded facts (``host.facts``), and values are converted by PythonQt's rules on the way in and out.
"""
