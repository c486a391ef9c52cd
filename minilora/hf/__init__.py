"""Real weights: GPT-2 and Llama-type models in and out, GGUF files in, PEFT's LoRA adapters in and out, without torch.

    model, tokenizer = load_gpt2("gpt2/")
    ml.add_lora(model, ml.LoraConfig(r=8)); ml.fit(model, tokenizer.encode(text), steps=100)
    save_peft_adapter(model, "adapter/")          # peft.PeftModel.from_pretrained(base, "adapter/")

Needs the extra `hf`: pip install "minilora[hf]".
"""

from minilora.hf.gpt2 import load_gpt2, save_gpt2
from minilora.hf.llama import load_llama, save_llama
from minilora.hf.peft import load_peft_adapter, save_peft_adapter
from minilora.hf.pretrained import load_pretrained, save_pretrained
from minilora.hf.tokenizer import BPETokenizer, load_tokenizer

__all__ = ["BPETokenizer", "load_gpt2", "load_llama", "load_pretrained", "load_tokenizer"]
__all__ += ["load_peft_adapter", "save_gpt2", "save_llama", "save_peft_adapter", "save_pretrained"]
