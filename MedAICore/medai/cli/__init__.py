"""The command line ``medai``: segment, evaluate, prepare, train, models, info (docs/command-line.md).

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 130 cancelled with Ctrl-C. Heavy libraries are imported by the
commands that need them, so that ``medai --help`` is quick.
"""

from medai.cli.app import main

__all__ = ["main"]
