"""What a method of adaptation is: a name, its source, how it changes a model, and how much it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minilora.lora import LoraConfig, lora_layers, mergeable_layers
from minilora.nn import Config, Model, Module


@dataclass(frozen=True)
class Method:
    """One of the methods that Hu et al. 2021, section 5.1, compare.

    name      its key in `METHODS`
    label     as the paper prints it, in plain letters
    source    who proposed it
    change    change(model, seed, **options): wraps layers, and leaves trainable only what the method trains
    formula   formula(config, **options): |Theta|, the number of parameters that it trains, from the model's shape;
              ValueError for options that the shape does not allow
    defaults  every option and its default
    """

    name: str
    label: str
    source: str
    change: Callable[..., None]
    formula: Callable[..., int]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults, overridden by what is given; JSON's lists become tuples.  ValueError for an unknown name."""
        if unknown := [name for name in given if name not in self.defaults]:
            known = ", ".join(self.defaults) or "none"
            raise ValueError(f"{self.name} has no option {unknown[0]!r}: its options are {known}")
        return {k: tuple(v) if isinstance(v, list) else v for k, v in {**self.defaults, **given}.items()}

    def count(self, config: Config, **options: Any) -> int:
        """|Theta|: the trainable parameters of a model of this shape.  ValueError for options that do not fit it."""
        return self.formula(config, **self.options(options))

    def apply(self, model: Model, seed: int = 0, **options: Any) -> Model:
        """Set a plain model up for this method, in place, with all but |Theta| parameters frozen; returns the model.

        What the method adds is drawn from `seed`.  ValueError, before any change, if the options do not fit the
        model, or if it has a method or a LoRA already.
        """
        applied = method_of(model)
        if applied is not None or any(mergeable_layers(model)):
            has = "a LoRA" if applied is None else f"the method {applied[0]!r}"
            raise ValueError(f"the model has {has} already: apply {self.name!r} to a fresh base")
        settled = self.options(options)
        self.formula(model.config, **settled)
        self.change(model, seed, **settled)
        vars(model)["method"] = (self.name, settled)
        return model


def method_of(model: Module) -> tuple[str, dict[str, Any]] | None:
    """The name and options of the method that was applied to the model, or None: `Method.apply` notes them there.

    `remove_lora` knows no methods, so a LoRA or variant whose layers are gone is taken for what it is: none.
    """
    noted = vars(model).get("method")
    return None if noted is not None and noted[0] in LoraConfig.variants and not any(lora_layers(model)) else noted
