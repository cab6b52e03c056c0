"""The worker's program: ``python -I -X utf8 bootstrap.py [--packages FOLDER] --session FOLDER --parent PID``.

Started by `medai.client.ChildProcessTransport` in an environment that does not have medai installed: the package is the
one that this file lies in; the libraries are the interpreter's own, or those in FOLDER. The pipes are taken away from
fd 0 and 1 before anything is imported that could print.
"""

import os
import sys


def take_over_pipes() -> tuple[int, int]:
    """Keep stdin and stdout for the protocol; what reads stdin gets nothing, what prints goes to stderr.

    Returns file descriptors (requests, events) that child processes do not inherit.
    """
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, events


def main() -> None:
    """Take the pipes, find the package, serve until the client goes away."""
    requests, events = take_over_pipes()
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = sys.argv[1:]
    if arguments[:1] == ["--packages"]:
        sys.path.insert(0, arguments[1])
        arguments = arguments[2:]
    # First: a medai that is installed in the environment would be of another version than the client's.
    sys.path.insert(0, package_root)
    from medai.worker.server import serve

    serve(requests, events, arguments)


if __name__ == "__main__":
    main()
