"""The worker: a process of its own that computes for Slicer (docs/protocol.md). Importing it loads no torch."""

from medai.worker.run import Operation, Run, run_request
from medai.worker.server import Server, serve
from medai.worker.warm_models import Warm, WarmModels

__all__ = ["Operation", "Run", "Server", "Warm", "WarmModels", "run_request", "serve"]
