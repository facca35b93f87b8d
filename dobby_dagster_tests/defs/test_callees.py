"""Callees first, in Dagster: a terminal goes on until no caller is outdated, and a batch brings its callers back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dobby_dagster.defs.runs.terminal_runs import plan_and_run
from dobby_dagster.domain.contracts import SMALL_MODEL
from dobby_dagster.domain.errors import PromptError
from dobby_dagster.domain.settings import Settings
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster.ingest.ingestion import ingest
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.file_tree import tree
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, said
from dobby_dagster_tests.helpers.run_world import RunWorld, values_of
from dobby_dagster_tests.helpers.world import Make

MODULE = "def zero(n):\n    return {}\n\n\ndef first(n):\n    return zero(n)\n\n\ndef after(n):\n    return first(n)\n"


def answer(number: int, body: dict[str, Any]) -> Reply:
    """The number in what is asked, if there is one, so that it reaches every caller."""
    asked = body["messages"][-1]["content"]
    digit = next((word for word in ("one", "two") if f"number {word}" in asked or f"'{word}'" in asked), "none")
    return said(f"It returns the number {digit} to its caller.")


def names(server: Scripted) -> list[str]:
    asked = [body["messages"][-1]["content"].partition("In one short")[0] for body in server.asked]
    server.asked.clear()
    return [content.rpartition("def ")[2].partition("(")[0] for content in asked]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted(answer) as served:
        yield served


@pytest.fixture
def settings(make_settings: Make, server: Scripted, tmp_path: Path) -> Settings:
    named = {"dagster__home": tmp_path / "home", "pipeline__outlines": False, "prompt__callees": 4}
    made = make_settings(model__url=server.url, model__served_name="small", **named)
    code(made, tmp_path, "one")
    return made


def code(settings: Settings, place: Path, number: str) -> None:
    root = tree(place, {"src/m.py": MODULE.format(f"'{number}'")}) / "src"
    ingest(CozoStore.open(settings.database), [root])


def test_a_batch_brings_back_callers_of_what_has_another_summary(
    settings: Settings, server: Scripted, tmp_path: Path
) -> None:
    world = RunWorld(settings)
    [first] = world.plan()
    assert values_of(world.run(first), "outlines")[first]["callers_redone"] == 0
    assert names(server) == ["zero", "first", "after"]
    code(settings, tmp_path, "two")
    second = world.plan()[-1]
    assert values_of(world.run(second), "outlines")[second]["callers_redone"] == 1
    assert world.status["pending"] == 1
    assert first in world.store.attempts.batches("record", recipe_for(settings).id), "the retries run it"
    assert values_of(world.run(first), "outlines")[first]["callers_redone"] == 1
    assert names(server) == ["zero", "first"]


@pytest.mark.slow
def test_the_terminal_goes_on_until_no_caller_is_outdated(settings: Settings, server: Scripted, tmp_path: Path) -> None:
    assert (plan_and_run(settings).done, names(server)) == (3, ["zero", "first", "after"])
    code(settings, tmp_path, "two")
    report = plan_and_run(settings)
    assert (report.done, len(report.runs), report.failures) == (3, 3, [])
    assert names(server) == ["zero", "first", "after"]
    assert sum(report.todo.values()) == 3
    assert plan_and_run(settings).runs == []


def test_a_model_that_was_trained_to_read_a_content_alone_is_refused(make_settings: Make) -> None:
    with pytest.raises(PromptError, match=r"prompt\.callees = 4 is invalid: model dobby-code-11m was trained"):
        recipe_for(make_settings(model__path=SMALL_MODEL, prompt__callees=4))
