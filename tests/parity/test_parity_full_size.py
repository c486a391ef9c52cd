"""GPT-2 small in its full shape, 124 million random weights: it fits, it runs, and what it costs.

python -m pytest tests/parity -m slow -s
"""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("safetensors", reason='needs safetensors: pip install "minilora[hf,parity]"')

from tests.parity.full_size import TOKENS
from tests.parity.torch_side import loaded, logits, torch, transformers


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads its peak memory from /proc")
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_gpt2_small(tmp_path, compare, stored):
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    assert theirs.num_parameters() == 124_439_808
    theirs.to(getattr(torch, stored)).save_pretrained(tmp_path)
    del theirs
    run = subprocess.run(
        [sys.executable, "-m", "tests.parity.full_size", str(tmp_path)], capture_output=True, text=True, check=True
    )
    report = json.loads(run.stdout)
    file_bytes = (tmp_path / "model.safetensors").stat().st_size
    print(
        f"\nGPT-2 small, stored as {stored}: file {file_bytes / 1e6:.0f} MB, model {report['model_bytes'] / 1e6:.0f} MB"
    )
    for what in ("load", "LoRA step of 126 tokens", "generate 20 tokens"):
        part = report[what]
        print(
            f"  {what:<24} {part['seconds']:6.2f} s   peak {part['peak_bytes'] / 1e6:6.0f} MB above the interpreter's"
        )
    assert 0.9 * report["model_bytes"] < report["load"]["peak_bytes"] < 1.3 * file_bytes + report["model_bytes"]
    # An untrained model knows nothing: every token has about the same chance.
    assert abs(report["loss"] - math.log(50257)) < 1
    compare(
        f"GPT-2 small, stored as {stored}: logits, float32",
        np.load(tmp_path / "logits.npy"),
        logits(loaded(tmp_path, "float32"), TOKENS[:, :16]),
        1e-5,
    )
