"""How many prompts share the memory, and how much of it there is."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.settings import InferenceSettings, ModelSettings
from dobby_dagster.inference.local import memory_budget
from dobby_dagster.inference.local.devices import place
from dobby_dagster.inference.local.length_bands import bands
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.packed.packed_network import PackedNetwork
from dobby_dagster.inference.packed.packed_weights import load_weights


@given(
    lengths=st.lists(st.integers(1, 3000), max_size=60),
    slots=st.integers(1, 64),
    budget=st.integers(1, 20_000),
    new=st.integers(1, 64),
)
def test_every_prompt_is_in_one_band_and_no_band_is_over_the_budget(
    lengths: list[int], slots: int, budget: int, new: int
) -> None:
    made = list(bands(lengths, slots, budget, new))
    assert sorted(index for band in made for index in band.members) == list(range(len(lengths)))
    for band in made:
        assert band.longest == max(lengths[index] for index in band.members)
        assert band.rows == 1 or band.rows * (band.longest + new) <= budget
        assert 1 <= band.rows <= slots
    longest = [band.longest for band in made]
    assert longest == sorted(longest, reverse=True)


def test_memory_that_is_free_decides_the_budget(qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placement = place(ModelSettings(device="cpu", dtype="float32"), reproducible=False)
    config = check_folder(qwen2).config

    def budget(**chosen: object) -> int:
        return memory_budget.token_budget(InferenceSettings.model_validate(chosen), config, placement)

    monkeypatch.setattr(memory_budget, "free_bytes", lambda device: 10**9)
    cache = PackedNetwork(load_weights(check_folder(qwen2), torch.float32)).slots(1, 32)
    token = (cache.keys.nbytes + cache.values.nbytes) // 32
    assert 0.9 < budget() * token / 0.8e9 <= 1
    assert budget(memory_share=0.4) < 0.51 * budget()
    assert budget(memory_limit_bytes=10**8) * token <= 10**8
    assert budget(token_budget=77) == 77
    with pytest.raises(SettingsError, match=r"memory_limit_bytes = 1,000 is too small: this model needs [\d,]+ bytes"):
        budget(memory_limit_bytes=1_000)
    monkeypatch.setattr(memory_budget, "free_bytes", lambda device: 0)
    assert budget() == 64


def test_a_limit_of_the_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "current").write_text("400000\n")
    monkeypatch.setattr(memory_budget, "_GROUP_LIMITS", (tmp_path / "max",))
    monkeypatch.setattr(memory_budget, "_GROUP_USES", (tmp_path / "current",))
    assert memory_budget.free_bytes("cpu") == 600_000
    (tmp_path / "max").write_text("max\n")
    assert memory_budget.free_bytes("cpu") > 1_000_000
