"""LoRA adapters as PEFT stores them: `adapter_config.json` beside `adapter_model.safetensors`, out and in.

Which layers are adapted and their ranks are read from the tensors' names and shapes. A pattern of PEFT's is a regular
expression, and a file's own is never run: it could take for ever.
PEFT adapts the layers that GPT-2 has, and GPT-2 computes q, k and v in one layer, c_attn. There the updates of our
q_proj, k_proj and v_proj are one below the other, and together they are one update of the summed rank:

    [ s_q B_q A_q ]       [ B_q   0   0  ] [ A_q ]
    [ s_k B_k A_k ]  =  s [  0   B_k  0  ] [ A_k ]        with alpha = s (r_q + r_k + r_v), so that alpha/r = s
    [ s_v B_v A_v ]       [  0    0  B_v ] [ A_v ]

Nothing is approximated: where the scalings differ, the difference goes into B; a layer without a LoRA gets zeros.
In the other direction, one update B A of c_attn becomes three: each takes a third of B's rows, with the same A.
DoRA's magnitudes belong to rows, so they are joined and split with B. PiSSA's update leaves as plain LoRA of rank 2 r.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.files.architectures import architecture, shapes
from minilora.files.container import CheckpointError, as_path
from minilora.hf.gpt2 import GPT2
from minilora.hf.layout import NO_HEAD, Layout, is_head, rooted
from minilora.hf.llama import LLAMA
from minilora.hf.peft_vera import VECTORS, load_vera, vera_settings, vera_tensors
from minilora.hf.safetensors_folder import StoredTensor, extra, read_json, stored_tensors, whole_folder
from minilora.lora import LoraConfig, LoraError, LoraLayer, add_lora, ends_with, lora_config, lora_layers, matrices
from minilora.machine.backend import array_module, to_host
from minilora.methods.dora import DoraConfig, DoraLinear, lengths
from minilora.methods.vera import VeraConfig
from minilora.nn import Decoder, Model, check_type

LAYOUTS = {"gpt2": GPT2, "llama": LLAMA}  # by `files.architectures`
FILES = ("adapter_config.json", "adapter_model.safetensors")
PREFIX = "base_model.model."  # PEFT's own two wrappers around the model

# Settings that we read; settings that do not change what the adapter computes; settings that, unless empty, change it
# beyond plain LoRA; initialisations that leave the base's weights as they are. Any other key is ignored with a warning,
# as PEFT does.
READ = {"r", "lora_alpha", "target_modules", "exclude_modules", "layers_to_transform", "rank_pattern", "alpha_pattern"}
READ |= {"lora_dropout", "bias", "use_rslora", "peft_type", "init_lora_weights", "ensure_weight_tying"}
READ |= {"use_dora"}
SILENT = {"auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "fan_in_fan_out", "inference_mode"}
SILENT |= {"layers_pattern", "lora_ga_config", "megatron_config", "megatron_core", "peft_version", "qalora_group_size"}
SILENT |= {"revision", "runtime_config", "task_type", "velora_config"}
BEYOND = {"alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "loftq_config", "lora_bias"}
BEYOND |= {"modules_to_save", "monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora"}
BEYOND |= {"use_qalora"}
PLAIN_INITS = (None, True, False, "gaussian", "eva", "orthogonal")
# What a missing key means, where PEFT's defaults differ from LoraConfig's.
DEFAULTS: dict[str, Any] = {"r": 8, "lora_alpha": 8}
PLAIN_NAME = re.compile(r"[\w.-]+")

MERGE_FIRST = "merge it into its base with PEFT's merge_and_unload(), save_pretrained() that, and load it as a model"
NOT_MERGEABLE = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT")


class Update(NamedTuple):
    """A layer's update dW = scaling * B A, (d, k), with A (r, k), B (d, r) and, for DoRA, m (d,)."""

    A: np.ndarray
    B: np.ndarray
    scaling: float
    m: np.ndarray | None = None


def joined(updates: list[Update | None]) -> Update:
    """One update for layers that are joined one below the other; None is a layer without an update.

    n updates of (d, k) and ranks r_i -> one of (n d, k) and rank sum r_i, as at the top of this file.
    """
    present = [update for update in updates if update is not None]
    scaling = max((update.scaling for update in present), key=abs)
    A = np.concatenate([update.A for update in present])
    d = len(present[0].B)
    B = np.zeros((len(updates) * d, len(A)), A.dtype)
    end = 0
    for i, update in enumerate(updates):
        if update is not None:
            start, end = end, end + len(update.A)
            B[i * d : (i + 1) * d, start:end] = update.B * (update.scaling / scaling if scaling else 1.0)
    return Update(A, B, scaling, None if present[0].m is None else np.concatenate([update.m for update in present]))


def split(update: Update, n: int, keep_all: bool) -> list[Update | None]:
    """The updates of the n layers that are joined one below the other; the inverse of `joined`.

    If each of the r components (a column of B, a row of A) serves only one layer, as `joined` leaves them, each layer
    gets its own, and a layer without any gets None, unless `keep_all` or it has magnitudes. Otherwise they all share
    the whole A.
    """
    blocks, ms = np.split(update.B, n), [None] * n if update.m is None else np.split(update.m, n)
    serves = np.array([(block != 0).any(axis=0) for block in blocks])  # (n, r)
    needed = update.m is not None and not serves.any(axis=1).all()
    if keep_all or needed or (serves.sum(axis=0) != 1).any():
        serves[:] = True
    return [
        Update(update.A[own], block[:, own], update.scaling, m) if own.any() else None
        for own, block, m in zip(serves, blocks, ms, strict=True)
    ]


def layout_of(model: Decoder) -> Layout:
    return LAYOUTS[architecture(model.config)]


def adaptable_layers(model: Decoder, root: str) -> dict[str, list[str]]:
    """transformers' path of every layer that a LoRA can adapt -> our layers that stand in it.

    A table with a head tied to it stands in two, because PEFT adapts the two one by one.
    """
    name, layers = layout_of(model).name, dict[str, list[str]]()
    for path in matrices(shapes(model.config)):
        layers.setdefault(rooted(root, name(path)), []).append(path)
    return {"lm_head": ["wte"]} | layers


def tensor_names(layer: str) -> tuple[str, str]:
    """PEFT's names for the A and B of a layer.  (DoRA's magnitudes are `LAYER.lora_magnitude_vector`.)

    It takes a table of embeddings for the transposed matrix, dW^T = s A^T B^T, so the roles are swapped there, and both
    are stored transposed (see `oriented`).
    """
    if is_table(layer):
        return f"{layer}.lora_embedding_B", f"{layer}.lora_embedding_A"
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"


def oriented(layer: str, array: np.ndarray) -> np.ndarray:
    """An A or B of ours as PEFT stores it, or the other way round."""
    return array.T if is_table(layer) else array


def is_table(layer: str) -> bool:
    return layer.endswith(("wte", "wpe", "embed_tokens"))


def trained_biases(model: Decoder, bias: str, adapted: Collection[str], root: str) -> dict[str, list[str]]:
    """transformers' names of the biases that belong to an adapter -> our parameters that stand in each."""
    return {
        root + name: parts
        for name, parts in layout_of(model).parts(model.config).items()
        if name.endswith(".bias")
        and (bias == "all" or (bias == "lora_only" and root + name.removesuffix(".bias") in adapted))
    }


# ------------------------------------------------------------------------------------------------ writing


def save_peft_adapter(model: Decoder, folder: str | Path, base_model: str | None = None) -> None:
    """Write the model's LoRA as an adapter that `peft.PeftModel.from_pretrained(base, folder)` loads.

    On the same base in transformers it computes the same function. `base_model`, the base's name or folder, is recorded
    for programs that look the base up.
    LoraError if the model has no LoRA; ValueError if it has parts that its architecture lacks; FileExistsError if the
    folder holds files that are not an adapter's.
    """
    check_type("base_model", base_model, (str, type(None)), "give the base's name or folder as a str, or None")
    config = lora_config(model)
    if config is None:
        raise LoraError("the model has no LoRA to export: call add_lora(model, config), or save all of it")
    layout = layout_of(model)
    layout.check(model)
    layers, adapted = adaptable_layers(model, layout.root), dict(lora_layers(model))
    common = {"task_type": "CAUSAL_LM", "base_model_name_or_path": base_model, "inference_mode": True}
    if isinstance(config, VeraConfig):
        vectors, targets = vera_tensors(model, layers, PREFIX)
        transposed = any(layout.is_transposed(f"{layer}.weight") for layer in targets)
        own = vera_settings(config, targets) | {"fan_in_fan_out": transposed}
        return _write(as_path(folder), common | own, vectors)
    dora = isinstance(config, DoraConfig)
    updates = {
        name: joined([_update(adapted.get(path), model.get_submodule(path), dora) for path in paths])
        for name, paths in layers.items()
        if any(path in adapted for path in paths)
    }
    tensors = {}
    for name, update in updates.items():
        for tensor, array in zip(tensor_names(name), (update.A, update.B), strict=True):
            tensors[tensor] = oriented(name, array)
        if update.m is not None:
            tensors[f"{name}.lora_magnitude_vector"] = update.m
    for name, parts in trained_biases(model, config.bias, updates, layout.root).items():
        layer = name.removesuffix(".bias")
        tensors[f"{layer}.base_layer.bias" if layer in updates else name] = layout.stacked(model, name, parts)
    settings = common | {
        "peft_type": "LORA",
        **_common_settings(config, updates, layers),
        "use_dora": dora,
        "fan_in_fan_out": any(layout.is_transposed(f"{layer}.weight") for layer in updates),
        "ensure_weight_tying": "lm_head" in updates and layers["lm_head"] == ["wte"],
    }
    _write(as_path(folder), settings, {PREFIX + name: array for name, array in tensors.items()})


def _write(folder: Path, settings: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    with whole_folder(folder, FILES) as new:
        (new / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
        extra("safetensors.numpy").save_file(
            {name: np.ascontiguousarray(array) for name, array in tensors.items()},
            new / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )


def _update(layer: LoraLayer | None, plain: Any, dora: bool) -> Update | None:
    """The update of an adapted layer, None for a plain one; with DoRA, a plain one has its own lengths and rank 0."""
    if isinstance(layer, DoraLinear):
        parts = layer.lora_A, layer.lora_B, layer.lora_magnitude_vector
        A, B, m = (to_host(parameter.data) for parameter in parts)
        return Update(A, B, layer.scaling, m)
    if layer is not None:
        A, B = map(to_host, layer.factors())
        return Update(A, B, layer.scaling)
    if not dora:
        return None
    W0 = to_host(plain.weight.data)
    d, k = W0.shape
    return Update(np.empty((0, k), W0.dtype), np.empty((d, 0), W0.dtype), 0.0, lengths(W0))


def _common_settings(config: LoraConfig, updates: Mapping[str, Update], layers: Collection[str]) -> dict[str, Any]:
    """The settings that a LoraConfig of ours and one of PEFT's share, for these updates of some of these layers."""
    ranks = {path: len(update.A) for path, update in updates.items()}
    alphas = {
        path: update.scaling * (math.sqrt(ranks[path]) if config.use_rslora else ranks[path])
        for path, update in updates.items()
    }
    r, rank_pattern = _pattern(ranks)
    alpha, alpha_pattern = _pattern({path: int(a) if a == int(a) else a for path, a in alphas.items()})
    partly = {_ending(path) for path in layers if path not in updates}
    return {
        "r": r,
        "lora_alpha": alpha,
        "target_modules": list(dict.fromkeys(p if _ending(p) in partly else _ending(p) for p in updates)),
        "lora_dropout": config.lora_dropout,
        "bias": config.bias,
        "use_rslora": config.use_rslora,
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
    }


def _ending(path: str) -> str:
    """The shortest ending that identifies a layer within its block: attention and MLP both have a c_proj."""
    parts = path.split(".")
    return ".".join(parts[-2:] if parts[-1] == "c_proj" else parts[-1:])


def _pattern(values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(the commonest value, the exceptions to it): by ending where all blocks agree, else by path."""
    commonest = Counter(values.values()).most_common(1)[0][0]
    of_ending: dict[str, set[Any]] = {}
    for path, value in values.items():
        of_ending.setdefault(_ending(path), set()).add(value)
    return commonest, {
        _ending(path) if len(of_ending[_ending(path)]) == 1 else path: value
        for path, value in values.items()
        if value != commonest
    }


# ------------------------------------------------------------------------------------------------ reading


def load_peft_adapter(model: Model, folder: str | Path) -> Model:
    """Add the LoRA that PEFT saved in a folder to the model, and return the model.

    Reads ranks and alphas by pattern, rsLoRA, DoRA, VeRA and trained biases. An adapter of GPT-2's c_attn becomes one
    each of q_proj, k_proj and v_proj (see `split`).
    CheckpointError, before any change, if the folder is incomplete or damaged, does not fit this model, or sets
    something that changes what is computed and that minilora lacks; LoraError if the model has a LoRA already.
    """
    folder = as_path(folder)
    if any(lora_layers(model)):
        raise LoraError("the model has a LoRA already: call remove_lora(model) first")
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name the folder that PEFT saved, with {' and '.join(FILES)} in it")
    settings_path, path = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    settings, stored = _checked_settings(settings_path), _stored_adapter(path)
    layout = layout_of(model)
    root = layout.root if any(name.startswith(layout.root) for name in stored) else ""  # GPT2Model has none
    layers = adaptable_layers(model, root)
    if settings["peft_type"] == "VERA":
        targeted = [layer for layer in layers if any(f"{layer}.{vector}" in stored for vector in VECTORS)]
        _check_named(settings, targeted, layers, layout, settings_path)
        load_vera(model, settings, stored, layers, targeted, settings_path)
        return model
    plan = _planned(settings, stored, layers, layout, settings_path)
    arrays = _checked_tensors(model, stored, plan, root, path, bool(settings.get("use_dora")))
    updates: dict[str, Update] = {}
    for layer, (_, scaling) in plan.adapted.items():
        A, B = (oriented(layer, arrays[tensor]) for tensor in tensor_names(layer))
        update = Update(A, B, scaling, arrays.get(f"{layer}.lora_magnitude_vector"))
        parts = split(update, len(layers[layer]), keep_all=plan.config.bias == "lora_only")
        updates |= {name: part for name, part in zip(layers[layer], parts, strict=True) if part is not None}
    values = {f"{name}.lora_{which}": getattr(u, which) for name, u in updates.items() for which in "AB"}
    values |= {f"{name}.lora_magnitude_vector": u.m for name, u in updates.items() if u.m is not None}
    for name, names in trained_biases(model, plan.config.bias, plan.adapted, root).items():
        values |= zip(names, np.split(arrays[name], len(names)), strict=True)
    ours = [name for names in layers.values() for name in names]
    kind = DoraConfig if settings.get("use_dora") else LoraConfig
    add_lora(model, kind(**_common_settings(plan.config, updates, ours)))
    parameters = model.named_parameters()
    for name, array in values.items():
        data = parameters[name].data
        data[...] = array_module(data).asarray(array, dtype=data.dtype)
    return model


def _stored_adapter(path: Path) -> dict[str, StoredTensor]:
    """The tensors of an adapter, named as in the model it adapts, without the names of PEFT's wrappers."""
    if not path.exists() and path.with_suffix(".bin").exists():
        raise CheckpointError(
            f"{path.parent} holds {path.stem}.bin, a pickle, which minilora never opens: load it with PEFT and "
            "save_pretrained() it to a new folder"
        )
    return {n.removeprefix(PREFIX).replace(".base_layer.", "."): tensor for n, tensor in stored_tensors(path).items()}


def _checked_settings(path: Path) -> dict[str, Any]:
    """adapter_config.json, if nothing in it is beyond plain LoRA.  CheckpointError, naming the setting, if one is."""
    settings = read_json(path)
    kind = settings.get("peft_type")
    if kind == "VERA":  # `load_vera` looks at the rest
        return settings
    if kind != "LORA":
        cure = "use it with PEFT" if kind in NOT_MERGEABLE or not isinstance(kind, str) else MERGE_FIRST
        raise CheckpointError(f"{path}: peft_type is {kind!r}, and minilora reads 'LORA' and 'VERA' only: {cure}")
    beyond = {name: value for name, value in settings.items() if name in BEYOND and value}
    if (init := settings.get("init_lora_weights", True)) not in PLAIN_INITS:
        beyond["init_lora_weights"] = init
    if isinstance(init, str) and init.startswith(("pissa", "olora", "corda")):
        raise CheckpointError(
            f"{path} sets init_lora_weights to {init!r}, so its A and B belong to a changed base: save it for the "
            "untouched one, with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    for name, value in beyond.items():
        cure = MERGE_FIRST
        if name == "alora_invocation_tokens":  # it acts on some positions only, so no weight can hold it
            cure = "use it with PEFT"
        elif name == "modules_to_save" and any(is_head(str(module)) for module in value):
            cure = NO_HEAD
        raise CheckpointError(f"{path} sets {name} to {value!r}, which changes more than minilora's LoRA can: {cure}")
    if unknown := sorted(name for name, value in settings.items() if name not in READ | SILENT | BEYOND and value):
        warnings.warn(f"{path}: minilora does not know {', '.join(unknown)} and ignores it", stacklevel=3)
    return settings


class _Plan(NamedTuple):
    """What the files mean for a model: the config in PEFT's terms, and (rank, scaling) of each adapted layer."""

    config: LoraConfig
    adapted: dict[str, tuple[int, float]]


def _planned(
    settings: Mapping[str, Any],
    stored: Mapping[str, StoredTensor],
    layers: Mapping[str, list[str]],
    layout: Layout,
    path: Path,
) -> _Plan:
    """The adapted layers and their ranks, as the tensors tell them, and the scalings.

    CheckpointError if a setting makes no sense or contradicts the tensors, no layer is adapted, or one of a table and a
    head tied to it.
    """
    names = ("r", "lora_alpha", "lora_dropout", "bias", "use_rslora")
    ranks, alphas = settings.get("rank_pattern") or {}, settings.get("alpha_pattern") or {}
    try:
        config = LoraConfig(**(DEFAULTS | {name: settings[name] for name in names if settings.get(name) is not None}))
        for alpha in alphas.values():
            LoraConfig(lora_alpha=alpha)
        ranks_are_plain = all(map(PLAIN_NAME.fullmatch, ranks.keys()))
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Fetch it again") from None
    if pattern := next((key for key in alphas if not PLAIN_NAME.fullmatch(key)), None):
        raise CheckpointError(
            f"{path} has the pattern {pattern!r} in alpha_pattern, and no regular expression from a file is run: "
            "name the layers one by one there, such as h.0.attn.c_attn"
        )
    adapted: dict[str, tuple[int, float]] = {}
    for layer in layers:
        r = _rank(layer, stored)
        if r is None:
            continue
        alpha = float(_value_for(layer, alphas, config.lora_alpha))
        adapted[layer] = (r, alpha / math.sqrt(r) if config.use_rslora else alpha / r)
        if ranks_are_plain and r != (expected := _value_for(layer, ranks, config.r)):
            raise CheckpointError(
                f"{path} gives {layer} the rank {expected}, its tensors have {r}: they are not of one adapter"
            )
    if settings.get("use_dora") and (tables := [layer for layer in adapted if is_table(layers[layer][0])]):
        raise CheckpointError(f"{path}: minilora's DoRA adapts linear layers, and this one adapts {tables[0]}")
    _check_named(settings, adapted, layers, layout, path)
    table = _table(layers, layout)
    if layers["lm_head"] == layers[table] and ("lm_head" in adapted) != (table in adapted):
        raise CheckpointError(
            f"{path} adapts only one of {layout.table} and lm_head, and this model's head is tied to its table: "
            f'train the adapter with target_modules=["{layout.table}", "lm_head"] and ensure_weight_tying=True'
        )
    return _Plan(config, adapted)


def _rank(layer: str, stored: Mapping[str, StoredTensor]) -> int | None:
    """The rank of a layer's A, or of its B where A is missing; None if the file has neither."""
    A, B = (stored.get(name) for name in tensor_names(layer))
    tensor = A or B
    if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape:
        return None
    return tensor.shape[int(is_table(layer) != (tensor is B))]


def _value_for(layer: str, by_ending: Mapping[str, Any], default: Any) -> Any:
    return next((value for ending, value in by_ending.items() if ends_with(layer, ending)), default)


def _check_named(
    settings: Mapping[str, Any], adapted: Collection[str], layers: Mapping[str, list[str]], layout: Layout, path: Path
) -> None:
    """CheckpointError if the tensors adapt no layer of this model, or others than the settings name."""
    if not adapted:
        raise CheckpointError(
            f"{path} targets {settings.get('target_modules')!r}, and its tensors belong to no layer of this "
            f"{layout.title}: the adapter is for another kind of model"
        )
    try:
        named = _named(settings, layers, layout)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Fetch it again") from None
    if named is not None and (odd := sorted(named ^ set(adapted))):
        fault = "lacks the update of" if odd[0] in named else "holds, against its configuration, an update of"
        raise CheckpointError(f"{path.parent} {fault} {odd[0]} ({len(odd)} such): fetch it again")


def _named(settings: Mapping[str, Any], layers: Mapping[str, list[str]], layout: Layout) -> set[str] | None:
    """The layers that the settings name, as PEFT reads them; None where they are named by a pattern, or not at all."""
    targets, excluded = settings.get("target_modules"), settings.get("exclude_modules") or []
    if targets is None or isinstance(targets, str) or isinstance(excluded, str):
        return None
    named = {
        layer
        for layer in layers
        if any(ends_with(layer, name) for name in targets) and not any(ends_with(layer, name) for name in excluded)
    }
    blocks = settings.get("layers_to_transform")
    if blocks not in (None, []):
        numbers = {layer: re.search(r"\.?\w+\.(\d+)\.", layer) for layer in named}
        named = {layer for layer, n in numbers.items() if n and int(n[1]) in np.atleast_1d(blocks)}
    table = _table(layers, layout)
    if settings.get("ensure_weight_tying") and table in named and layers["lm_head"] == layers[table]:
        named.add("lm_head")  # the head then comes along with its table, and PEFT has taken its name off the list
    return named


def _table(layers: Collection[str], layout: Layout) -> str:
    """Theirs for the path of the table of tokens."""
    return next(layer for layer in layers if layer.endswith(layout.table))


def _checked_tensors(
    model: Decoder, stored: dict[str, StoredTensor], plan: _Plan, root: str, path: Path, dora: bool
) -> dict[str, np.ndarray]:
    """The tensors of the plan.  CheckpointError unless exactly these are stored, in the model's shapes."""
    layers, parameters = adaptable_layers(model, root), model.named_parameters()
    table = f"{root}{layout_of(model).table}"
    expected: dict[str, tuple[int, ...]] = {}
    for layer, (r, _) in plan.adapted.items():
        d, k = parameters[f"{layers[layer][0]}.weight"].shape
        pair = [(r, k), (len(layers[layer]) * d, r)]
        expected |= zip(tensor_names(layer), (s[::-1] if is_table(layer) else s for s in pair), strict=True)
        if dora:
            expected[f"{layer}.lora_magnitude_vector"] = (len(layers[layer]) * d,)
    for name, parts in trained_biases(model, plan.config.bias, plan.adapted, root).items():
        expected[name] = (sum(parameters[part].size for part in parts),)
    # PEFT may store the frozen table beside its adapter: that is another way to say which base it belongs to.
    for name in {f"{table}.weight", "lm_head.weight"} & set(stored):
        ours = parameters[f"{layers[name.removesuffix('.weight')][0]}.weight"]
        if (rows := stored[name].shape[0]) != len(ours.data):
            raise CheckpointError(
                f"{path} brings a {name} of {rows} tokens, this model has {len(ours.data)}: the table was resized "
                f"before the training. In transformers, base.resize_token_embeddings({rows}), then {MERGE_FIRST}"
            )
        if not np.array_equal(stored.pop(name).read(), to_host(ours.data)):
            raise CheckpointError(f"{path} brings a {name} that is not this model's: load the base it was trained on")
    if odd := sorted(set(stored) ^ set(expected)):
        if odd[0] in stored and is_head(odd[0]):
            raise CheckpointError(f"{path} holds {odd[0]}: {NO_HEAD}")
        fault = "lacks" if odd[0] in expected else "holds, against its configuration,"
        raise CheckpointError(f"{path} {fault} {odd[0]} ({len(odd)} such): it is incomplete, or of a different model")
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise CheckpointError(
                f"{path}: {name} has shape {stored[name].shape}, expected {shape} by its configuration and this model: "
                "it belongs to a different model, or a different adapter_config.json"
            )
    arrays = {name: stored[name].read() for name in expected}
    if "lm_head" in plan.adapted and layers["lm_head"] == layers[table]:
        pairs = zip(tensor_names("lm_head"), tensor_names(table), strict=True)
        if plan.adapted["lm_head"] != plan.adapted[table] or not all(
            np.array_equal(arrays[head], oriented(table, arrays[name])) for head, name in pairs
        ):
            raise CheckpointError(
                f"{path} adapts {table} and lm_head differently, and this model's head is tied to its table: "
                "train the adapter with ensure_weight_tying=True"
            )
    return arrays
