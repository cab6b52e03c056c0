"""Errors say what and how to help, and survive the way through pickles and the protocol."""

from __future__ import annotations

import pickle

import pytest

from medai import errors
from medai.errors import Cancelled, MedAIError, error_from_code


def kinds() -> list[type[MedAIError]]:
    return [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, MedAIError)]


def test_every_kind_has_a_code_of_its_own():
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes)) >= 13


@pytest.mark.parametrize("kind", kinds())
def test_errors_come_back_from_their_code_and_from_a_pickle(kind):
    error = kind("What.", "How.")
    assert str(error) == "What. How."
    for found in (error_from_code(kind.code, "What.", "How."), pickle.loads(pickle.dumps(error))):
        assert type(found) is kind
        assert (found.message, found.remedy) == ("What.", "How.")


def test_without_a_remedy_and_with_an_unknown_code():
    assert str(MedAIError("What.")) == "What."
    assert str(Cancelled()) == "Cancelled."
    assert type(error_from_code("from the future", "What.")) is MedAIError
