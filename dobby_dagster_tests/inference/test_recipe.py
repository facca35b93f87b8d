"""The recipe: which settings make stored summaries out of date, and which do not."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from dobby_dagster.domain.settings import InferenceSettings, ModelSettings, PromptSettings, SecondTry, Settings
from dobby_dagster.inference import engine_choice
from dobby_dagster.inference.engine_choice import Host, with_quantization
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.shipped_models import shelf
from dobby_dagster.inference.recipe import recipe_for
from dobby_dagster_tests.helpers.local_engines import FASTEST
from dobby_dagster_tests.helpers.quantized_checkpoints import FORMS, quantized

SMALL, LARGE = "dobby-code-11m", "dobby-code-73m"
# Under which the shipped models stored summaries before there were `model.quantization = auto` and second tries.
FORMER = {SMALL: "30d153d896f61e1a", LARGE: "37dc7c7bb53535d4"}
PC = Host("x86_64", lambda *packages: "")


def settings(model: str, second_try: SecondTry = "never", **changed: object) -> Settings:
    return Settings(
        model=ModelSettings.model_validate({"path": model} | changed),
        inference=InferenceSettings(second_try=second_try),
    )


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_a_recipe_of_former_settings_stays_valid(model: str) -> None:
    assert recipe_for(settings(model, quantization="none")).id == FORMER[model]


def test_the_default_quantization_changes_no_summary_of_a_model_that_is_not_stored_in_int8() -> None:
    assert recipe_for(settings(SMALL)).id == FORMER[SMALL]


def test_a_second_try_is_a_recipe_of_its_own_where_there_can_be_one() -> None:
    recipes = {when: recipe_for(settings(SMALL, when)) for when in get_args(SecondTry)}
    assert len({recipe.id for recipe in recipes.values()}) == len(recipes)
    assert "second_try" not in recipes["never"].settings
    sampled = Settings(model=ModelSettings(path=SMALL), inference=InferenceSettings(temperature=0.5))
    assert "second_try" not in recipe_for(sampled).settings
    served = Settings(model=ModelSettings(url="http://127.0.0.1:1/v1", served_name="theirs"))
    assert "second_try" not in recipe_for(served).settings


@pytest.mark.skipif(FASTEST != "openvino", reason="OpenVINO is for x86-64")
def test_a_recipe_has_what_auto_stands_for() -> None:
    recipe = recipe_for(settings(LARGE))
    assert recipe.settings["quantization"] == "int8"
    assert recipe.id == recipe_for(settings(LARGE, quantization="int8")).id
    assert recipe_for(settings(LARGE, dtype="float32")).id == FORMER[LARGE]


@pytest.mark.parametrize(
    ("host", "device", "changed", "stands_for"),
    [
        (PC, "cpu", {}, "int8"),
        (PC, "cpu", {"engine": "openvino"}, "int8"),
        (PC, "cpu", {"engine": "packed"}, "none"),
        (PC, "cpu", {"engine": "transformers"}, "none"),
        (PC, "cpu", {"dtype": "bfloat16"}, "none"),
        (PC, "cpu", {"quantization": "int4"}, "int4"),
        (PC, "cuda", {}, "none"),
        (PC, "mps", {}, "none"),
        (Host("arm64", lambda *packages: ""), "cpu", {}, "none"),
        (Host("x86_64", lambda *packages: "missing"), "cpu", {}, "none"),
    ],
)
def test_auto_is_int8_only_where_the_engine_computes_with_the_stored_numbers(
    host: Host, device: str, changed: dict[str, str], stands_for: str
) -> None:
    given = settings(LARGE, **changed)
    found = with_quantization(given.model, given.inference, check_folder(shelf()[LARGE]), device, host)
    assert found == given.model.model_copy(update={"quantization": stands_for})
    plain = settings(SMALL)
    source = check_folder(shelf()[SMALL])
    assert with_quantization(plain.model, plain.inference, source, device, host).quantization == "none"


def test_auto_is_none_in_reproducible_mode() -> None:
    given = settings(LARGE)
    inference = given.inference.model_copy(update={"reproducible": True})
    found = with_quantization(given.model, inference, check_folder(shelf()[LARGE]), "cpu", PC)
    assert found.quantization == "none"


@pytest.mark.parametrize("form", FORMS)
def test_only_a_model_stored_in_int8_with_a_scale_for_each_row_keeps_its_numbers(
    form: str, qwen2: Path, tmp_path: Path
) -> None:
    model, _ = quantized(qwen2, form, tmp_path)
    source = check_folder(model)
    with source.tensors("np") as tensors:
        name = "model.layers.0.mlp.up_proj.weight"
        kept = name in tensors.names and tensors.int8(name) is not None
    assert source.keeps_int8 is kept


def test_the_engines_of_each_device_are_listed_by_what_auto_stands_for_there() -> None:
    given = settings(LARGE)
    assert {need.device for need in engine_choice.needs(given.model, given.inference)} == {"mps", "cuda", "cpu"}
    for need in engine_choice.needs(given.model, given.inference):
        assert need.quantization in (("int8", "none") if need.device == "cpu" else ("none",))


def test_summaries_of_callees_are_a_recipe_of_their_own() -> None:
    served = ModelSettings(url="http://127.0.0.1:1/v1", served_name="theirs")
    recipes = [recipe_for(Settings(model=served, prompt=PromptSettings(callees=count))) for count in (0, 1, 2)]
    assert len({recipe.id for recipe in recipes}) == 3
    assert [recipe.callees for recipe in recipes] == [0, 1, 2]
    assert "callees" not in recipes[0].settings
