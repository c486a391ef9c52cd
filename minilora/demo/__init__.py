"""`minilora demo`: the LoRA paper's claims, measured on real text, one file per claim."""

from minilora.demo.result import DemoResult
from minilora.demo.run import demo
from minilora.demo.task import QUICK, Size

__all__ = ["QUICK", "DemoResult", "Size", "demo"]
