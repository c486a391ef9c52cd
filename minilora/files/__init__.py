"""Models, adapters and training states in files: checked before anything changes, and nothing is unpickled."""

from minilora.files.adapter import Adapter, load_adapter, read_adapter, save_adapter, write_adapter
from minilora.files.container import CheckpointError
from minilora.files.model import load_base, load_model, save_model
from minilora.files.training import load_training, save_training

__all__ = ["CheckpointError", "load_base", "load_model", "load_training", "save_model", "save_training"]
__all__ += ["Adapter", "load_adapter", "read_adapter", "save_adapter", "write_adapter"]
