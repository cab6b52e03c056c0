"""A worker without torch for self-tests: it answers in this process, over the real protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import medai
from medai.client import InProcessTransport
from medai.config import to_json
from medai.config.messages import (
    PROTOCOL_VERSION,
    ErrorEvent,
    Hello,
    ProgressEvent,
    Request,
    ResultEvent,
    arguments_of,
    encode,
)
from medai.config.requests import Device
from medai.errors import MedAIError
from medai.session import SessionFolder


class StandinWorker:
    """Answers the operation `operation`; `requests` keeps the arguments of each request.

    A kind of it overrides `answer`. `makeTransport` gives the transport of a client.
    """

    operation = ""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self._loaded: set[str] = set()

    @property
    def loads(self) -> int:
        """How many models were "loaded": each at its first use only, as the real worker does."""
        return len(self._loaded)

    def makeTransport(self) -> InProcessTransport:
        """A transport at whose other end this worker is."""
        devices = (Device("cpu", "cpu", "self-test"),)
        hello = Hello(PROTOCOL_VERSION, medai.__version__, 1, (self.operation,), devices)
        return InProcessTransport(self._run, encode(hello))

    def answer(self, arguments: Any, requestId: int, session: SessionFolder, loadSeconds: float) -> Any:
        """The result of a request; `loadSeconds` is what loading the model took, 0 where it was loaded before."""
        raise NotImplementedError

    def _run(
        self, request: Request, emit: Callable[[bytes], None], cancelled: Callable[[], bool], session: SessionFolder
    ) -> None:
        arguments: Any = arguments_of(request)
        self.requests.append(arguments)
        try:
            emit(encode(ProgressEvent(request.id, 0.5, "Computing")))
            seconds = 0.0 if arguments.model in self._loaded else 0.25
            self._loaded.add(arguments.model)
            emit(encode(ResultEvent(request.id, to_json(self.answer(arguments, request.id, session, seconds)))))
        except MedAIError as error:
            emit(encode(ErrorEvent(error.code, error.message, error.remedy, request.id)))


def writePackage(folder: Path, modelId: str, **card: Any) -> Path:
    """A package without weights, which only a stand-in understands; gives its folder. `card`: more for its card."""
    package = folder / modelId
    package.mkdir(parents=True)
    common = {
        "format": 1,
        "id": modelId,
        "version": "1.0.0",
        "weights": [{"file": "weights.safetensors", "sha256": "0" * 64}],
        "licence": "Apache-2.0",
        "spacing_mm": [1.0, 1.0, 1.0],
    }
    (package / "model.json").write_text(json.dumps({**common, **card}), encoding="utf-8")
    return package
