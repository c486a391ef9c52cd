"""One base, many adapters: add, switch, sum, mix, merge, and keep them in files.

An `AdapterBank` holds adapters over one base (`files.Adapter`: plain data) and makes models of them. Such a model is a
view: it shares every array with the base and the adapters, but has modules and `Parameter`s of its own. So switching
copies no weight, changing one view leaves all others alone, and many threads may use different views at once. W0 is
shared read-only: NumPy itself refuses to write to it.

Adapters may form a tree. A child is trained on top of its ancestors, which are frozen from then on:
W = W0 + dW_root + ... + dW_parent + dW_child.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minilora import lora
from minilora.adapters.routing import ALL, RoutedEmbedding, RoutedLinear, Rows
from minilora.files.adapter import Adapter, adapter_of, read_adapter, write_adapter
from minilora.files.architectures import build
from minilora.files.container import CheckpointError
from minilora.files.header import base_hash
from minilora.lora import LoraBranch, LoraConfig, LoraError, add_lora, is_merged, lora_shapes, mergeable_layers
from minilora.machine.backend import to_host
from minilora.nn import Decoder, Embedding, Parameter, check_type, difference, unwrapped


class AdapterBank:
    """Adapters over one base, with PEFT's verbs.  `bank.model` is the model that is visible now.

    The model becomes the base: its arrays are shared, never written to, and it stays usable.
    """

    def __init__(self, model: Decoder) -> None:
        """LoraError if the model has a LoRA: save it as an adapter, remove it, and load it into the bank."""
        if any(mergeable_layers(model)):
            raise LoraError("a bank starts from a plain base: call remove_lora(model) first")
        self.base = _frozen_view(model)
        self.base_sha256 = base_hash(self.base, [])
        self.adapters: dict[str, Adapter] = {}
        self.active: tuple[str, ...] = ()
        self.model = _frozen_view(self.base)

    # ------------------------------------------------------------------------------------- what it holds

    def add_adapter(self, name: str, config: LoraConfig, seed: int = 0, parent: str | None = None) -> None:
        """Add a new adapter, with B = 0 and the A that `add_lora(model, config, seed)` would draw.

        With a `parent` it is meant to be trained on top of that adapter, which is frozen as long as it has children.
        ValueError if the name is taken, the parent unknown, or the config does not fit the base.
        """
        fresh = adapter_of(add_lora(_frozen_view(self.base), config, seed))
        self.insert(name, replace(fresh, base_sha256=self._trained_on(parent), parent=parent))

    def insert(self, name: str, adapter: Adapter) -> None:
        """Add an existing adapter; its arrays are shared.  CheckpointError if it does not fit the base."""
        check_name(name)
        if name in self.adapters:
            raise ValueError(f"the bank has an adapter {name!r} already: call delete_adapter({name!r}) first")
        if type(adapter.lora) is not LoraConfig:
            raise ValueError(
                f"{name!r} is of the variant {adapter.lora.variant!r}: a bank holds plain LoRA only, which "
                "files.adapter.plain_adapter(model) makes of a variant with an update of low rank"
            )
        if adapter.lora.bias != "none":
            raise ValueError(
                f"{name!r} trained the base's biases (bias={adapter.lora.bias!r}), which all adapters of a bank share: "
                'train it with bias="none"'
            )
        self._check_fit(name, adapter)
        xp = self.base.xp  # a file's arrays go where the base's are; others stay the same
        self.adapters[name] = replace(adapter, tensors={n: xp.asarray(array) for n, array in adapter.tensors.items()})

    def _check_fit(self, name: str, adapter: Adapter) -> None:
        if adapter.config != self.base.config:
            raise CheckpointError(f"{name!r} is for a base of {adapter.config}, this one is {self.base.config}")
        if adapter.base_sha256 != self._trained_on(adapter.parent):
            what = "base" if adapter.parent is None else f"version of its parent {adapter.parent!r}"
            raise CheckpointError(f"{name!r} was trained on a different {what}: its weights' hash differs")
        found = {tensor: array.shape for tensor, array in adapter.tensors.items()}
        if odd := difference(found, lora_shapes(self.base.shapes(), adapter.lora)):
            raise CheckpointError(f"{name!r} does not fit its LoRA config on this base: {odd}")

    def _trained_on(self, parent: str | None) -> str:
        """The hash of what a child of `parent` is trained on, as that is now."""
        return self.base_sha256 if parent is None else self._as_it_is(parent).sha256

    def _as_it_is(self, name: str) -> Adapter:
        """The adapter with the current hash of what it is trained on: its ancestors may have been trained further."""
        adapter = self.adapter(name)
        return replace(adapter, base_sha256=self._trained_on(adapter.parent))

    def adapter(self, name: str) -> Adapter:
        """The adapter of this name, with the arrays that its views compute with.  ValueError if unknown."""
        if not isinstance(name, str) or name not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise ValueError(f"the bank has no adapter {name!r}: it holds {known}")
        return self.adapters[name]

    def children(self, name: str) -> list[str]:
        """The adapters that were trained on top of this one."""
        return [child for child, adapter in self.adapters.items() if adapter.parent == name]

    def lineage(self, name: str) -> list[str]:
        """The adapter and its ancestors, the root first."""
        parent = self.adapter(name).parent
        return [*([] if parent is None else self.lineage(parent)), name]

    def delete_adapter(self, name: str) -> None:
        """Forget an adapter; views of it continue to work.  LoraError while it is active or has children."""
        self.adapter(name)
        if any(name in self.lineage(active) for active in self.active):
            raise LoraError(f"{name!r} is active: call disable_adapter() or set_adapter(...) first")
        if children := self.children(name):
            raise LoraError(f"{children[0]!r} was trained on top of {name!r}: delete it first")
        del self.adapters[name]

    @property
    def nbytes(self) -> int:
        """Bytes of every A and B; the base does not count."""
        return sum(adapter.nbytes for adapter in self.adapters.values())

    # ------------------------------------------------------------------------------------- models of it

    def view(self, *names: str) -> Decoder:
        """The base with the sum of these adapters and their ancestors, for any batch.

        The adapters named train, unless they have children; ancestors are frozen. Their parameters are called
        `PATH.adapters.NAME.lora_A`, so that an optimizer made for one adapter cannot mistake another for it.
        """
        used = dict.fromkeys(ancestor for name in names for ancestor in self.lineage(name))
        return self._routed([(ALL, name) for name in used], None, trained=names)

    def mixed(self, names: Sequence[str | None], trained: Iterable[str] = ()) -> Decoder:
        """The base with adapter names[i] (and its ancestors), or none, on row i of a batch of len(names) rows.

        Rows that use the same adapter go through its branches together: without a copy if they are next to each other,
        else gathered and put back.
        """
        check_type("names", names, (list, tuple), 'give one name, or None, for each row: ["a", None]')
        positions: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            if name is not None:
                self.adapter(name)  # or the error for one that is unknown
                positions.setdefault(name, []).append(i)
        xp = self.base.xp
        rows = {name: _as_slice(indices) or xp.asarray(indices) for name, indices in positions.items()}
        routes = [(rows[name], ancestor) for name in rows for ancestor in self.lineage(name)]
        return self._routed(routes, len(names), trained)

    def _routed(self, routes: list[tuple[Rows, str]], n_rows: int | None, trained: Iterable[str]) -> Decoder:
        branches = {n: _branches(self.adapter(n), n in trained and not self.children(n)) for _, n in routes}
        model = _frozen_view(self.base)
        modules = dict(model.named_modules())
        layers = {}
        for path in dict.fromkeys(path for by_path in branches.values() for path in by_path):
            here = {name: by_path[path] for name, by_path in branches.items() if path in by_path}
            kind = RoutedEmbedding if isinstance(unwrapped(modules[path]), Embedding) else RoutedLinear
            layers[path] = kind(modules[path], here, [(rows, name) for rows, name in routes if name in here], n_rows)
        model.replace(layers)
        return model

    def merged_copy(self, *names: str) -> Decoder:
        """A plain model with W = W0 + the sum of these adapters and their ancestors, in arrays of its own."""
        merged = lora.merge(self.view(*names)).named_parameters()
        plain = build(self.base.config)
        plain.load_state_dict({name: to_host(merged[name].data) for name in plain.named_parameters()})
        return plain

    # ------------------------------------------------------------------------------------- the visible one

    def set_adapter(self, *names: str) -> None:
        """Make `view(*names)` the visible model, merged if the previous one was.

        However often you switch, nothing drifts: each merged model is built from W0, which is never written to.
        """
        if not names:
            raise ValueError("set_adapter needs the name of an adapter: for the base by itself call disable_adapter()")
        model = self.view(*names)
        if is_merged(self.model):
            lora.merge(model)
        self.model, self.active = model, names

    def disable_adapter(self) -> None:
        """Make the base by itself visible, with nothing merged."""
        self.model, self.active = _frozen_view(self.base), ()

    def merge(self) -> None:
        """Write the active adapters into the visible model's weights, a copy of W for each adapted layer.

        LoraError if none is active, or they are merged already. To train an adapter further, use a view of it: the
        merged model keeps what was merged.
        """
        if not self.active:
            raise LoraError("no adapter is active: call set_adapter(name) first")
        lora.merge(self.model)

    def unmerge(self) -> None:
        """Undo `merge`.  LoraError if nothing is merged."""
        if not is_merged(self.model):
            raise LoraError("no adapter is merged: call merge() first")
        lora.unmerge(self.model)

    # ------------------------------------------------------------------------------------- files

    def save_adapter(self, name: str, path: str | Path) -> None:
        """Write one adapter to a file, for the adapter's ancestors as they are now.

        LoraError if the base has changed since the bank was made: its arrays are shared with the model it came from.
        """
        if base_hash(self.base, []) != self.base_sha256:
            raise LoraError(
                "the base's weights have changed since this bank was made, so no base fits its adapters: "
                "make an AdapterBank from a copy of the model before you train the model itself"
            )
        write_adapter(self._as_it_is(name), path)

    def load_adapter(self, name: str, path: str | Path) -> None:
        """Add the adapter in a file.  CheckpointError if it is damaged or was not trained on this base."""
        self.insert(name, read_adapter(path))


def check_name(name: str) -> None:
    """ValueError for a name that could not be part of a parameter's or a file's name."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} cannot name an adapter: use letters, digits, _ and -")


def _frozen_view(model: Decoder) -> Decoder:
    """The same model over the same arrays, with Parameters of its own: frozen, and read-only if NumPy owns them."""
    views: dict[int, Any] = {id(parameter): parameter.frozen_view() for parameter in model.parameters}
    return copy.deepcopy(model, memo=views)  # copies the modules; in place of a Parameter it takes the view


def _branches(adapter: Adapter, trainable: bool) -> dict[str, LoraBranch]:
    """Path -> a branch over the adapter's own arrays."""
    return {
        path: LoraBranch(
            adapter.lora,
            adapter.lora.scaling(path),
            Parameter(adapter.tensors[f"{path}.lora_A"], trainable),
            Parameter(adapter.tensors[f"{path}.lora_B"], trainable),
        )
        for path in adapter.paths
    }


def _as_slice(indices: list[int]) -> slice | None:
    """The slice with these ascending indices, if there is one."""
    first, last = indices[0], indices[-1]
    return slice(first, last + 1) if last - first == len(indices) - 1 else None
