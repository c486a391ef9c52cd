"""Exercise 15 (lesson 5): give chosen layers of a model their LoRA factors."""

import numpy as np


def inject(state: dict[str, np.ndarray], targets: list[str], r: int, seed: int) -> dict[str, np.ndarray]:
    """The new parameters of a model whose layers named in `targets` are adapted.

    state     the model's parameters by name: "blocks.0.attn.q_proj.weight" is the weight (d, k) of the layer
              "blocks.0.attn.q_proj", whose last name is "q_proj"; some layers have a bias too
    targets   last names of the layers to adapt, such as ["q_proj", "v_proj"]
    r         the rank
    seed      for np.random.default_rng, from 0 to 2^32 - 1

    Returns a new dictionary that holds, for each weight (d, k) of a target layer, NAME.lora_A (r, k), Gaussian
    numbers, and NAME.lora_B (d, r), zeros, NAME being the layer's full name. These are what trains; `state` is
    frozen and stays as it is. Each layer gets its own random numbers.
    """
    raise NotImplementedError
