"""Many adapters on one base: a bank, a folder, mixed batches, sums, training side by side."""

from minilora.adapters.arithmetic import Compression, compress, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.adapters.folder import AdapterFolder
from minilora.adapters.side_by_side import fit_side_by_side, loss_and_grads_side_by_side

__all__ = ["AdapterBank", "AdapterFolder", "Compression", "compress", "weighted_sum"]
__all__ += ["fit_side_by_side", "loss_and_grads_side_by_side"]
