"""The command line in an environment without medai: ``python -I -X utf8 command.py [--packages FOLDER] ARGUMENTS...``.

The sibling of the worker's bootstrap.py for what Slicer runs outside of the worker: trainings, plans, data sets,
evaluations (`medai.client.training`, `medai.client.commands`). ARGUMENTS are those of `medai`; the package is the one
that this file lies in, the libraries are the interpreter's own, or those in FOLDER.
"""

import os
import sys


def main() -> None:
    """Find the package, run the command line, exit with its code."""
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = sys.argv[1:]
    if arguments[:1] == ["--packages"]:
        sys.path.insert(0, arguments[1])
        arguments = arguments[2:]
    # First: a medai that is installed in the environment would be of another version than Slicer's.
    sys.path.insert(0, package_root)
    from medai.cli.app import main as command_line

    command_line(arguments)


if __name__ == "__main__":
    main()
