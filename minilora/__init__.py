"""minilora: LoRA (Hu et al. 2021) from the inside, in NumPy, with every backward written by hand."""

from minilora.cli import early  # isort: split

from minilora.files.adapter import load_adapter, save_adapter
from minilora.files.container import CheckpointError
from minilora.files.model import load_base, load_model, save_model
from minilora.generate import generate
from minilora.llama import Llama, LlamaConfig
from minilora.lora import LoraConfig, LoraError, add_lora, lora_layers, merge, remove_lora, trainable_report, unmerge
from minilora.methods.dora import DoraConfig
from minilora.methods.lora_xs import LoraXsConfig
from minilora.methods.pissa import OloraConfig, PissaConfig
from minilora.methods.vera import VeraConfig
from minilora.nn import Parameter
from minilora.optim import Adam, clip_grad_norm, warmup_cosine
from minilora.text import ByteTokenizer, TextData, python_docs, python_source, source_windows
from minilora.train import FitResult, NonFiniteLossError, evaluate, fit, loss_and_grads
from minilora.transformer import GPT, GPTConfig

del early

__version__ = "0.2.0"

__all__ = [
    "GPT",
    "Adam",
    "ByteTokenizer",
    "CheckpointError",
    "DoraConfig",
    "FitResult",
    "GPTConfig",
    "Llama",
    "LlamaConfig",
    "LoraConfig",
    "LoraError",
    "LoraXsConfig",
    "NonFiniteLossError",
    "OloraConfig",
    "Parameter",
    "PissaConfig",
    "TextData",
    "VeraConfig",
    "add_lora",
    "clip_grad_norm",
    "evaluate",
    "fit",
    "generate",
    "load_adapter",
    "load_base",
    "load_model",
    "lora_layers",
    "loss_and_grads",
    "merge",
    "python_docs",
    "python_source",
    "remove_lora",
    "save_adapter",
    "save_model",
    "source_windows",
    "trainable_report",
    "unmerge",
    "warmup_cosine",
]
