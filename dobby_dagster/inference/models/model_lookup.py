"""Finds a model by path or name: a folder, a GGUF file, a shipped model, or one to download."""

from __future__ import annotations

from pathlib import Path

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.domain.filesystem import expanded
from dobby_dagster.domain.settings import ModelSettings
from dobby_dagster.domain.suggest import suggestion
from dobby_dagster.inference.models.folder_files import is_file
from dobby_dagster.inference.models.gguf_file import check_gguf
from dobby_dagster.inference.models.model_folder import check_folder
from dobby_dagster.inference.models.model_source import ModelSource
from dobby_dagster.inference.models.shipped_models import shelf

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]


def find_model(settings: ModelSettings) -> ModelSource:
    """The folder or file at ``settings.path``, or the shipped or downloaded model of that name.

    Raises:
        ModelError: It does not exist, or can't be used.
    """
    known = shelf()
    path = expanded(settings.path)
    if not path.exists() and settings.path.removeprefix("models/") in known:
        path = known[settings.path.removeprefix("models/")]
    if not path.exists() and settings.allow_download:
        path = _download(settings.path)
    if not path.exists():
        raise ModelError(f"there is no model '{settings.path}'", hint=suggestion(settings.path, known))
    return check_model(path)


def check_model(path: Path) -> ModelSource:
    """Check a folder or a GGUF file as far as possible without loading the model.

    Raises:
        ModelError: Names the file and what is wrong with it.
    """
    if not path.is_dir():
        return check_gguf(path)
    files = sorted(path.glob("*.gguf"))
    if files and not is_file(path / "config.json"):
        raise ModelError(
            f"{path} is not a model folder, but holds {files[0].name}", hint=f"name it: --model {files[0]}"
        )
    return check_folder(path)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(f"model '{name}' can't be downloaded: {error}", hint="copy it from elsewhere") from None
