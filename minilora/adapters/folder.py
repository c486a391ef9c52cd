"""More adapters than fit into memory: a folder whose least recently used adapters are dropped from memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from minilora.adapters.bank import AdapterBank, check_name
from minilora.files.adapter import read_adapter
from minilora.files.container import CheckpointError, as_path
from minilora.nn import Decoder


class AdapterFolder:
    """The adapters in a folder of `NAME.npz` files, over one base, at most `max_bytes` of them in memory at a time.

    A least-recently-used cache. A requested adapter is read if it is not in memory (a miss; else a hit), and then the
    least recently requested ones are dropped until the A and B of the rest fit into `max_bytes`. Requesting a child
    requests its ancestors. A view in use keeps its own adapters alive. Threads may share a folder.
    """

    def __init__(self, model: Decoder, folder: str | Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = as_path(folder), max_bytes
        self.hits = self.misses = self.evictions = 0
        self._bank = AdapterBank(model)
        self._order: OrderedDict[str, None] = OrderedDict()  # the names in memory, least recently used first
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The adapters in the folder, in memory or not."""
        return sorted(path.stem for path in self.folder.glob("*.npz"))

    @property
    def nbytes(self) -> int:
        """Bytes of A and B in memory now."""
        return self._bank.nbytes

    def view(self, *names: str) -> Decoder:
        """`AdapterBank.view` of these adapters.

        ValueError if the folder lacks one, or if together they exceed `max_bytes`; CheckpointError if a file is
        damaged or was trained on a different base.
        """
        with self._lock:
            self._bring(names)
            return self._bank.view(*names)

    def mixed(self, names: Sequence[str | None]) -> Decoder:
        """`AdapterBank.mixed` of these adapters; errors as `view`."""
        with self._lock:
            self._bring([name for name in dict.fromkeys(names) if name is not None])
            return self._bank.mixed(names)

    def _bring(self, names: Iterable[str]) -> None:
        """Load these adapters, and keep no more of the others than fit beside them."""
        needed: set[str] = set()
        for name in names:
            self._load(name)
            # A child counts as used before its ancestors, so that it is always dropped before them.
            for used in reversed(self._bank.lineage(name)):
                self._order.move_to_end(used)
                needed.add(used)
            self._evict(keep=needed)
            if self.nbytes > self.max_bytes:
                nbytes = self.nbytes
                self._evict(keep=set())
                raise ValueError(
                    f"the adapters {', '.join(sorted(needed))} take {nbytes:,} bytes together: "
                    f"raise max_bytes={self.max_bytes:,}"
                )

    def _load(self, name: str, descendants: tuple[str, ...] = ()) -> None:
        """Load `name`, after its ancestors."""
        if name in self._order:
            self.hits += 1
            return
        self.misses += 1
        check_name(name)
        try:
            adapter = read_adapter(self.folder / f"{name}.npz")
        except FileNotFoundError:
            raise ValueError(f"{self.folder} has no adapter {name!r}: it has {', '.join(self.names())}") from None
        if adapter.parent in (*descendants, name):
            raise CheckpointError(f"{self.folder}: {name!r} is among its own ancestors: make it again")
        if adapter.parent is not None:
            self._load(adapter.parent, (*descendants, name))
        self._bank.insert(name, adapter)
        self._order[name] = None

    def _evict(self, keep: set[str]) -> None:
        """Forget adapters, least recently used first and never those to keep, until the rest fit into `max_bytes`."""
        for name in [name for name in self._order if name not in keep]:
            if self.nbytes <= self.max_bytes:
                return
            self._bank.delete_adapter(name)
            del self._order[name]
            self.evictions += 1
