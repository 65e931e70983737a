"""Which models stay in memory, and who waits until there is room."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.generation.remote_engine import RemoteEngine
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import LabError, Progress
from pipeline.settings import Settings
from ui.models import Model, Models, Use

Room = Callable[[float], None]


@pytest.fixture
def family() -> Family:
    return get_family(Settings.from_env(), DEFAULT_FAMILY)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Sets how much memory is free."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def free(available: float) -> None:
        monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=available))

    return free


def load(family: Family, report: Progress) -> Model:
    if "broken" in family.name:
        raise LabError("It is broken.")
    return Model(RemoteEngine(family, "http://127.0.0.1:9/v1"), [])


def get(use: Use) -> Any:
    for _ in use.wait():
        pass
    return use.result()


def test_two_families_stay_in_memory_where_they_fit(family: Family, room: Room) -> None:
    room(100e9)
    models, other = Models(load, threading.Event()), replace(family, name="other")
    with models.use(family) as use:
        first = get(use)
    with models.use(other) as use:
        get(use)
    with models.use(family) as use:
        assert get(use) is first


def test_the_family_that_was_not_used_for_longest_makes_room(family: Family, room: Room) -> None:
    models, others = Models(load, threading.Event()), [replace(family, name=name) for name in ("a", "b")]
    room(100e9)
    for each in (family, *others, family):
        with models.use(each) as use:
            get(use)
    room(1e9)
    with models.use(replace(family, name="c")) as use:
        get(use)
    assert all(models.loading(each) is None for each in (family, *others))


def test_a_model_in_use_stays_and_who_needs_its_room_waits_before_later_visitors(
    family: Family, room: Room
) -> None:
    room(1e9)
    models, other = Models(load, threading.Event()), replace(family, name="other")
    with models.use(family) as running:
        get(running)
        with models.use(other) as waiting:
            messages = waiting.wait()
            assert "do not fit into memory" in next(messages)
            with models.use(family) as late:
                assert "do not fit into memory" in next(late.wait())
    with models.use(other) as use:
        get(use)
    assert models.loading(family) is None


def test_a_model_that_could_not_be_loaded_is_tried_again(family: Family, room: Room) -> None:
    room(100e9)
    models, broken = Models(load, threading.Event()), replace(family, name="broken")
    loadings = []
    for _ in range(2):
        with models.use(broken) as use, pytest.raises(LabError, match="It is broken"):
            get(use)
        loadings.append(models.loading(broken))
    assert loadings[0] is not loadings[1]
