"""Small checkpoints as fixtures, in a module of their own: engines can be tested where neither Dagster nor Cozo is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dobby_dagster_tests.helpers.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of Qwen2 architecture."""
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny-qwen2", "qwen2")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of Llama architecture, without a chat template."""
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny-llama", "llama", seed=1, chat=False)
