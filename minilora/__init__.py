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

__all__ = ["GPT", "GPTConfig", "Llama", "LlamaConfig", "Parameter"]
__all__ += ["DoraConfig", "LoraConfig", "LoraError", "LoraXsConfig", "OloraConfig", "PissaConfig", "VeraConfig"]
__all__ += ["add_lora", "lora_layers", "merge", "remove_lora", "trainable_report", "unmerge"]
__all__ += ["Adam", "FitResult", "NonFiniteLossError", "clip_grad_norm", "fit", "loss_and_grads", "warmup_cosine"]
__all__ += ["ByteTokenizer", "TextData", "evaluate", "generate", "python_docs", "python_source", "source_windows"]
__all__ += ["CheckpointError", "load_adapter", "load_base", "load_model", "save_adapter", "save_model"]
