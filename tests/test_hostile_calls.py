"""600 random calls of the public interface with hostile arguments: each works or raises a documented error.

A call starts as a right one and gets one or two arguments that nobody would pass on purpose. What it may raise: the
package's own errors and ValueError, FileNotFoundError and its kin for paths, and TypeError only from Python itself, for
an argument that is missing or of an unknown name. A call that raised has left the model as it was.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minilora as ml
from minilora import adapters, analysis, files, hf, methods, quantized, tasks, text
from minilora.files import read_adapter
from minilora.machine.watch import NonFiniteLossError
from minilora.testing import check_lora
from tests.models import TINY, bits, gpt, llama

CALLS = 600
DOCUMENTED = (ValueError, ml.LoraError, NonFiniteLossError, OSError)  # CheckpointError is a ValueError
TOKENS = np.array([[1, 2, 3], [4, 5, 6]])
ROW = np.arange(40) % 7


def hostile(rng: np.random.Generator) -> Any:
    """An argument that is wrong almost everywhere."""
    fortran = np.asfortranarray(rng.standard_normal((3, 4)))
    locked = np.array([[1, 2], [3, 4]])
    locked.flags.writeable = False
    choices = [
        *(None, True, -1, 0, 2**70, 1.5, -0.0, float("nan"), float("inf"), 1e300, 3 + 4j),
        *("", "text", "\0", b"bytes", "(", (), [], {}, [None], [[1], [2, 3]], ["q_proj", 3]),
        *({"a": 1}, {1: 2}, object()),
        *(np.array(3), np.zeros(0), np.zeros((0, 3), int), np.array(["a"]), np.array([np.nan]), fortran, locked),
        *(np.full((2, 3), 10**9), np.zeros((2, 3, 4)), np.array([[True]])),
        *(np.float32(0.5), np.int64(-3), range(3), object()),
        *([1.0, 2.0], [-1, 0], np.array([[1, 2], [3, 4]], dtype=object), np.uint8(255), 10**6, object()),
    ]
    return choices[rng.integers(len(choices))]


def right_calls(folder: Path) -> dict[str, tuple[Any, list[Any], dict[str, Any]]]:
    """Name -> function, arguments that are right, and those by name; the first model among them is a fresh one."""
    lora = ml.add_lora(gpt(), ml.LoraConfig(r=1))
    plain = gpt()
    path = folder / "a.npz"
    if not path.exists():
        ml.save_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=1)), path)
        ml.save_model(gpt(), folder / "m.npz")
    one = read_adapter(path)
    bank = adapters.AdapterBank(gpt())
    bank.insert("a", one)
    grads = {"w": np.ones(3)}
    optional = {"lr": 1e-3, "batch_size": 2, "weight_decay": 0.0, "clip": 1.0, "validation": None, "eval_every": 1}
    optional |= {"patience": None, "seed": 0, "workers": 1, "checkpoint": None, "resume": False, "eval_batches": 1}
    sampling = {"temperature": 1.0, "top_k": 3, "top_p": 0.5, "stop": 2, "seed": 0}
    shape = {"vocab_size": 7, "block_size": 5, "n_layer": 1, "n_head": 2, "n_embd": 6, "dtype": "float32"}
    llama = {"vocab_size": 7, "hidden_size": 8, "intermediate_size": 9, "num_hidden_layers": 1}
    llama |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 5}
    config = {"r": 2, "lora_alpha": 4, "target_modules": ("q_proj",), "lora_dropout": 0.1, "bias": "none"}
    config |= {"use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}, "exclude_modules": ()}
    config |= {"layers_to_transform": None}
    return {
        "GPTConfig": (ml.GPTConfig, [], shape),
        "GPT": (ml.GPT, [TINY], {"seed": 0}),
        "LlamaConfig": (ml.LlamaConfig, [], llama),
        "LoraConfig": (ml.LoraConfig, [], config),
        **{
            kind.__name__: (kind, [], {"r": 2, "lora_alpha": 4, "target_modules": ("q_proj",)})
            for kind in (ml.DoraConfig, ml.LoraXsConfig, ml.OloraConfig, ml.PissaConfig, ml.VeraConfig)
        },
        "forward": (lambda model, tokens: model(tokens), [plain, TOKENS], {}),
        "add_lora": (ml.add_lora, [plain, ml.LoraConfig(r=1)], {"seed": 0}),
        "remove_lora": (ml.remove_lora, [lora], {}),
        "merge": (ml.merge, [lora], {"keep_base": True, "dequantize": False}),
        "unmerge": (ml.unmerge, [plain], {}),
        "trainable_report": (ml.trainable_report, [plain], {}),
        "loss_and_grads": (ml.loss_and_grads, [lora, TOKENS, TOKENS, np.ones((2, 3))], {"workers": 1, "rng": None}),
        "evaluate": (ml.evaluate, [plain, ROW], {"batch_size": 2, "max_batches": 1, "workers": 1}),
        "fit": (ml.fit, [lora, ROW], {"steps": 1, "progress": False, **optional}),
        "Adam": (ml.Adam, [lora], {"lr": 1e-3, "weight_decay": 0.0, "betas": (0.9, 0.99), "eps": 1e-8}),
        "clip_grad_norm": (ml.clip_grad_norm, [grads, 1.0], {}),
        "warmup_cosine": (ml.warmup_cosine, [1, 10, 1e-3], {"warmup": 2, "min_lr": 0.0}),
        "TextData": (ml.TextData, [ROW, 4], {}),
        "source_windows": (ml.source_windows, [64], {}),
        "generate": (ml.generate, [plain, [1, 2]], {"max_new_tokens": 2, **sampling}),
        "save_model": (ml.save_model, [plain, folder / "out.npz"], {}),
        "load_model": (ml.load_model, [folder / "m.npz"], {"allow_nonfinite": False}),
        "save_adapter": (ml.save_adapter, [lora, folder / "out.npz"], {}),
        "load_adapter": (ml.load_adapter, [plain, path], {"check_base": False}),
        "load_state_dict": (lambda model, state: model.load_state_dict(state), [plain, plain.state_dict()], {}),
        "weighted_sum": (adapters.weighted_sum, [[one, one], [0.5, 0.5]], {}),
        "compress": (adapters.compress, [one, 1], {}),
        "AdapterBank": (adapters.AdapterBank, [plain], {}),
        "bank.add_adapter": (bank.add_adapter, ["b", ml.LoraConfig(r=1)], {"seed": 0, "parent": "a"}),
        "bank.set_adapter": (bank.set_adapter, ["a"], {}),
        "bank.mixed": (bank.mixed, [["a", None]], {}),
        "methods.apply": (methods.apply, [plain, "lora"], {"seed": 0}),
        "methods.count": (methods.count, ["adapter_h", TINY], {}),
        **rooms(folder, plain, lora, one),
    }


def rooms(folder: Path, plain: Any, lora: Any, one: Any) -> dict[str, tuple[Any, list[Any], dict[str, Any]]]:
    """The calls into the rooms, and into `analysis` and `text`."""
    examples = [tasks.Example("a\n", "bc", ("bc",)), tasks.Example("d\n", "e", ("e",))]
    bank = adapters.AdapterBank(gpt())
    bank.insert("a", one)
    common = {"lr": 0.1, "batch_size": 2, "clip": 1.0, "seed": 0}
    W, A = np.arange(12.0).reshape(3, 4), np.ones((2, 4))
    if not (folder / "gpt2").exists():
        hf.save_gpt2(gpt(), folder / "gpt2")
        hf.save_llama(llama(), folder / "llama")
        hf.save_peft_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=1)), folder / "peft")
        methods.save_trained(methods.apply(gpt(), "bitfit"), folder / "bitfit.npz")
    return {
        "save_trained": (methods.save_trained, [lora, folder / "out.npz"], {}),
        "load_trained": (methods.load_trained, [plain, folder / "bitfit.npz"], {"allow_nonfinite": False}),
        "loraplus": (methods.loraplus, [lora, 16.0], {}),
        "checkpoint_bytes": (methods.checkpoint_bytes, [10], {"bits": 16}),
        "write_adapter": (files.write_adapter, [one, folder / "out.npz"], {}),
        "fit_side_by_side": (adapters.fit_side_by_side, [bank, {"a": ROW}], {"steps": 1, "progress": False, **common}),
        "quantize": (quantized.quantize, [plain], {}),
        "dequantize": (quantized.dequantize, [plain], {}),
        "quantize_nf4": (quantized.quantize_nf4, [np.ones((2, 64), np.float32)], {}),
        "load_gpt2": (hf.load_gpt2, [folder / "gpt2"], {"dtype": "float32"}),
        "load_llama": (hf.load_llama, [folder / "llama"], {"dtype": "float32"}),
        "load_pretrained": (hf.load_pretrained, [folder / "gpt2"], {"quantized": None}),
        "save_gpt2": (hf.save_gpt2, [plain, folder / "out"], {"tokenizer": None}),
        "save_pretrained": (hf.save_pretrained, [plain, folder / "out"], {"tokenizer": None}),
        "load_tokenizer": (hf.load_tokenizer, [folder / "gpt2"], {}),
        "load_peft_adapter": (hf.load_peft_adapter, [plain, folder / "peft"], {}),
        "save_peft_adapter": (hf.save_peft_adapter, [lora, folder / "out"], {"base_model": None}),
        "tasks.load": (tasks.load, ["nli"], {"seed": 0, "folder": None}),
        "TaskData": (tasks.TaskData, [examples, 5], {}),
        "tasks.answer": (tasks.answer, [byte_gpt(), examples], {"max_new": 1, "batch_size": 2}),
        "singular_values": (analysis.singular_values, [W], {}),
        "energy_share": (analysis.energy_share, [np.array([2.0, 1.0]), 1], {}),
        "rank_for_energy": (analysis.rank_for_energy, [np.array([2.0, 1.0])], {"share": 0.9}),
        "subspace_similarity": (analysis.subspace_similarity, [A, A, 1, 2], {}),
        "random_similarity": (analysis.random_similarity, [1, 2, 4], {}),
        "projection_norm": (analysis.projection_norm, [W, W, 2], {}),
        "amplification_factor": (analysis.amplification_factor, [W, W, 2], {}),
        "intruder_dimensions": (analysis.intruder_dimensions, [W, W, 2], {"threshold": 0.5}),
        "forgetting_at": (analysis.forgetting_at, [[2.0, 1.0], [1.0, 2.0], 1.5], {}),
        "dimension_for_share": (analysis.dimension_for_share, [{1: 0.5, 2: 0.9}, 0.0, 1.0], {"share": 0.9}),
        "training_bytes": (analysis.training_bytes, [lora, TOKENS, TOKENS], {}),
        "split": (text.split, [ROW, 0.1], {}),
        "read_text": (text.read_text, [folder / "text"], {}),
        "check_lora": (
            check_lora,
            [],
            {"forward": lambda x, W, A, B, s: x @ W.T + s * (x @ A.T) @ B.T, "variant": "lora", "dtypes": ("float64",)},
        ),
    }


def byte_gpt() -> Any:
    """One that the tasks' bytes fit."""
    return ml.GPT(replace(TINY, vocab_size=256), seed=0)


def try_one(seed: int, folder: Path) -> str | None:
    """What was wrong with call number `seed`, or None."""
    rng = np.random.default_rng(seed)
    calls = right_calls(folder)
    name = sorted(calls)[seed % len(calls)]
    function, positional, keywords = calls[name]
    made = (ml.GPT, ml.GPTConfig, ml.LoraConfig)  # of the package's own making, and nobody's to invent
    places: list[Any] = [i for i, x in enumerate(positional) if not isinstance(x, made)]
    places += [key for key in keywords]
    for _ in range(rng.integers(1, 3) if places else 0):
        place = places[rng.integers(len(places))]
        if isinstance(place, int):
            positional[place] = hostile(rng)
        else:
            keywords[place] = hostile(rng)
    models = [x for x in calls[name][1] if isinstance(x, ml.GPT)]
    before = [bits(model) for model in models]
    shown = f"seed {seed}: {name}({', '.join([*map(repr, positional), *(f'{k}={v!r}' for k, v in keywords.items())])})"
    try:
        function(*positional, **keywords)
    except DOCUMENTED as error:
        if [bits(model) for model in models] != before:
            return f"{shown} raised {error!r} and changed the model"
        return None if len(str(error)) > 20 else f"{shown}: {error!r} names no cure"
    except Exception as error:
        return f"{shown} raised {type(error).__name__}: {error}"
    return None


def test_hostile_calls_work_or_raise_a_documented_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where "text" as a path goes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = [fault for seed in range(CALLS) if (fault := try_one(seed, tmp_path)) is not None]
    if wrong:
        pytest.fail(f"{len(wrong)} of {CALLS}:\n" + "\n".join(text[:400] for text in wrong))


def test_every_public_name_is_called():
    """But for the exceptions, what takes no argument, and what only holds or prints what others made."""
    passive = {"CheckpointError", "LoraError", "NonFiniteLossError", "FitResult", "Parameter", "ByteTokenizer"}
    passive |= {"load_base", "lora_layers", "python_docs", "python_source"}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in ml.__all__ if f"ml.{name}" not in source} == passive - {"LoraError"}
