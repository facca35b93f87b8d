"""``python -m bench engines``: what it runs, and how it compares."""

import pytest

from bench.engine_agreement import REFERENCE, Run, parsed, runs


def test_the_reference_runs_first_and_every_engine_that_is_there() -> None:
    labels = [run.label for run in runs(parsed(["--python", "vllm=/an/environment/bin/python"]))]
    assert labels[0] == REFERENCE
    assert {"packed, float32", "vllm, bfloat16"} < set(labels)
    [vllm] = [
        run for run in runs(parsed(["--python", "vllm=/x/python", "--only", "vllm, f"])) if run.label != REFERENCE
    ]
    assert (vllm.python, vllm.settings["model_engine"]) == ("/x/python", "vllm")
    assert runs(parsed(["--url", "http://127.0.0.1:8000/v1", "--served-name", "m"]))[-1].label.startswith("server")


def test_texts_and_confidences_are_compared_by_record() -> None:
    reference = Run(REFERENCE, {}, summaries={"a": ("It adds.", 0.9), "b": ("It reads.", 0.5), "c": ("It ends.", 0.1)})
    other = Run("other", {}, summaries={"a": ("It adds.", 0.8), "b": ("It writes.", None)}, failed=1)
    other.seconds, other.inference_seconds, other.load = [60.0], [1.0], [2.0]
    row = other.row(reference)
    assert row["same text"] == "50.0% of 2"
    assert row["mean difference of confidence"] == "0.1000", "an unknown confidence is not compared"
    assert row["records a minute, start and load included"] == pytest.approx(2)
    assert Run("broken", {}, problem="no such module").row(reference)["same text"] == "no such module"
