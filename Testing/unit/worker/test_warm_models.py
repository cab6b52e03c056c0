"""Warm models: loaded once, dropped by age within the budget, loaded anew when their files change."""

from __future__ import annotations

from medai.config.requests import WarmModel
from medai.worker import WarmModels


class Loader:
    def __init__(self):
        self.loaded = []

    def __call__(self, name, memory_mb=10.0):
        def load():
            self.loaded.append(name)
            return f"network {name}", WarmModel(name, "1", "cpu", memory_mb)

        return load


def test_a_model_is_loaded_once():
    models, load = WarmModels(100.0), Loader()
    first = models.get("a", load("a"))
    second = models.get("a", load("a"))
    assert load.loaded == ["a"]
    assert first.model is second.model
    assert first.seconds > 0.0
    assert second.seconds == 0.0


def test_the_least_recently_used_leaves():
    models, load = WarmModels(25.0), Loader()
    models.get("a", load("a"))
    models.get("b", load("b"))
    models.get("a", load("a"))
    models.get("c", load("c"))
    assert [entry.id for entry in models.entries()] == ["c", "a"]
    assert models.memory_mb == 20.0


def test_a_model_over_the_budget_is_the_only_one():
    models, load = WarmModels(25.0), Loader()
    models.get("a", load("a"))
    models.get("big", load("big", 80.0))
    assert [entry.id for entry in models.entries()] == ["big"]
    models.get("big", load("big", 80.0))
    assert load.loaded == ["a", "big"]


def test_a_model_that_does_not_load_leaves_nothing():
    models = WarmModels(25.0)

    def fail():
        raise MemoryError

    for _ in range(2):
        try:
            models.get("a", fail)
        except MemoryError:
            continue
        raise AssertionError("the error was swallowed")
    assert models.entries() == ()


def test_forget_all():
    models, load = WarmModels(25.0), Loader()
    models.get("a", load("a"))
    models.forget_all()
    assert models.entries() == ()
    assert models.memory_mb == 0.0
