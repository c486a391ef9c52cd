"""The methods that the paper compares (Hu et al. 2021, section 5.1), each a way to set a plain model up for training.

    methods.apply(model, "adapter_h", seed=0, m=8)           # in place: wraps, and freezes all but |Theta| parameters
    methods.count("adapter_h", model.config, m=8)            # |Theta| from the shape of the model
    fit(model, data, steps=100)                              # the model of any method is a model like any other
    methods.save_trained(model, "task.npz")                  # only what was trained
    methods.load_trained(load_base()[0], "task.npz")         # onto a fresh base, bit for bit

One file per family: `finetune`, `bottleneck`, `prefix`, `low_rank`; and one per successor of LoRA: `dora`, `pissa`,
`loraplus`, `vera`. Each states its formula and its source.
"""

from minilora.methods.files import load_trained, save_trained
from minilora.methods.loraplus import loraplus
from minilora.methods.method import Method, method_of
from minilora.methods.published import MODELS, Published, checkpoint_bytes, published_counts
from minilora.methods.registry import METHODS, apply, count

__all__ = ["METHODS", "Method", "apply", "count", "load_trained", "loraplus", "method_of", "save_trained"]
__all__ += ["MODELS", "Published", "checkpoint_bytes", "published_counts"]
