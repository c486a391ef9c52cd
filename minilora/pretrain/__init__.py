"""How the shipped base was made: the recipe, its corpus, and the made-up records that teach it to copy."""

from minilora.pretrain.recipe import pretrain

__all__ = ["pretrain"]
