"""One base, many adapters: the visible model is always W0 + the sum of the active, and no bit of W0 ever changes."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import minilora as ml
from minilora import methods
from minilora.adapters.bank import AdapterBank
from minilora.adapters.folder import AdapterFolder
from minilora.files.adapter import load_adapter, read_adapter, save_adapter, write_adapter
from minilora.lora import is_merged
from tests.models import TINY, assert_same, batch, bits, gpt
from tests.reference import Bounded, gpt2_logits

NAMES = ("a", "b", "c", "d")
CONFIGS = (
    ml.LoraConfig(r=1, lora_alpha=3, target_modules=("q_proj", "v_proj")),
    ml.LoraConfig(r=2, lora_alpha=2, target_modules=r".*\.(k|o|up)_proj|wte", use_rslora=True),
    ml.LoraConfig(r=3, lora_alpha=-1, target_modules=("down_proj", "0.attn.q_proj", "wpe"), rank_pattern={"wpe": 1}),
    ml.LoraConfig(r=2, target_modules=("q_proj", "wte"), alpha_pattern={"q_proj": 0.5}),
)


def fill(bank: AdapterBank, name: str, seed: int) -> None:
    """Numbers for every A and B of an adapter, as if it had been trained."""
    rng = np.random.default_rng(seed)
    for array in bank.adapter(name).tensors.values():
        array[...] = rng.standard_normal(array.shape) / 2


def full_bank() -> AdapterBank:
    """Adapters a, b, c of `CONFIGS`, b's child d, and its child e."""
    bank = AdapterBank(gpt())
    for i, name in enumerate("abc"):
        bank.add_adapter(name, CONFIGS[i], seed=i)
    bank.add_adapter("d", CONFIGS[3], seed=3, parent="b")
    bank.add_adapter("e", CONFIGS[0], seed=4, parent="d")
    for i, name in enumerate("abcde"):
        fill(bank, name, seed=i)
    return bank


Parts = list[tuple[ml.LoraConfig, dict[str, np.ndarray]]]  # of a sum: each adapter's config and tensors


def logits_of_sum(base: ml.GPT, parts: Parts, tokens: np.ndarray) -> Bounded:
    """GPT-2's logits with W0 + the sum of these adapters, each layer's as one update of rank r1 + r2 + ..."""
    state, scaling = base.state_dict(), {}
    for path in {name.rpartition(".")[0] for _, tensors in parts for name in tensors}:
        here = [(config.scaling(path), tensors) for config, tensors in parts if f"{path}.lora_A" in tensors]
        state[f"{path}.lora_A"] = np.concatenate([tensors[f"{path}.lora_A"] for _, tensors in here])
        state[f"{path}.lora_B"] = np.concatenate([s * tensors[f"{path}.lora_B"] for s, tensors in here], axis=1)
        scaling[path] = 1.0
    return gpt2_logits(state, TINY, scaling, tokens)


def parts_of(bank: AdapterBank, *names: str) -> Parts:
    """The adapters of these names and their ancestors."""
    used = dict.fromkeys(ancestor for name in names for ancestor in bank.lineage(name))
    return [(bank.adapter(name).lora, bank.adapter(name).tensors) for name in used]


def assert_within(logits: np.ndarray, expected: Bounded) -> None:
    assert logits.shape == expected.value.shape
    assert (np.abs(logits - expected.value) <= 2 * expected.error).all()


# --------------------------------------------------------------------------------------- any sequence of verbs


class BankMachine(RuleBasedStateMachine):
    """Any sequence of the verbs. A record in plain arrays is kept beside the bank, and both must stay equal."""

    def __init__(self) -> None:
        super().__init__()
        self.model = gpt(seed=7)
        self.arrays = {name: p.data for name, p in self.model.named_parameters().items()}
        self.before = bits(self.model)
        self.bank = AdapterBank(self.model)
        self.tensors: dict[str, dict[str, np.ndarray]] = {}  # what each adapter must hold
        self.parents: dict[str, str | None] = {}
        self.configs: dict[str, ml.LoraConfig] = {}
        self.optimizers: dict[str, ml.Adam] = {}
        self.active: tuple[str, ...] = ()
        self.merged: dict[str, dict[str, np.ndarray]] | None = None  # the adapters as they were merged, if they are

    # ---------------------------------------------------------------------------- the record

    def lineage(self, name: str) -> list[str]:
        parent = self.parents[name]
        return [*(self.lineage(parent) if parent else []), name]

    def used(self) -> list[str]:
        """The active adapters and their ancestors."""
        return list(dict.fromkeys(a for name in self.active for a in self.lineage(name)))

    def snapshot(self) -> dict[str, dict[str, np.ndarray]]:
        return {name: {n: a.copy() for n, a in tensors.items()} for name, tensors in self.tensors.items()}

    def has_children(self, name: str) -> bool:
        return name in self.parents.values()

    # ---------------------------------------------------------------------------- the verbs

    @rule(name=st.sampled_from(NAMES), config=st.sampled_from(CONFIGS), seed=st.integers(0, 9), data=st.data())
    def add(self, name, config, seed, data):
        parent = data.draw(st.sampled_from([None, *self.tensors]))
        if name in self.tensors:
            with pytest.raises(ValueError, match="has an adapter"):
                self.bank.add_adapter(name, config, seed, parent)
            return
        self.bank.add_adapter(name, config, seed, parent)
        alone = ml.add_lora(gpt(seed=7), config, seed)  # B = 0, and the same A as a plain LoRA
        self.tensors[name] = {n: p.data for n, p in alone.named_parameters().items() if ".lora_" in n}
        self.parents[name], self.configs[name] = parent, config
        self.optimizers[name] = ml.Adam(self.bank.view(name), lr=0.05)

    @precondition(lambda self: self.tensors)
    @rule(data=st.data())
    def set(self, data):
        names = data.draw(st.lists(st.sampled_from([*self.tensors]), min_size=1, max_size=3, unique=True))
        self.bank.set_adapter(*names)
        self.active = tuple(names)
        self.merged = None if self.merged is None else self.snapshot()

    @rule()
    def disable(self):
        self.bank.disable_adapter()
        self.active, self.merged = (), None

    @rule()
    def merge(self):
        if not self.active or self.merged is not None:
            with pytest.raises(ml.LoraError, match=r"no adapter is active|merged already"):
                self.bank.merge()
            return
        self.bank.merge()
        self.merged = self.snapshot()

    @rule()
    def unmerge(self):
        if self.merged is None:
            with pytest.raises(ml.LoraError, match="no adapter is merged"):
                self.bank.unmerge()
            return
        self.bank.unmerge()
        self.merged = None

    @precondition(lambda self: self.tensors)
    @rule(data=st.data())
    def delete(self, data):
        name = data.draw(st.sampled_from([*self.tensors]))
        if name in self.used() or self.has_children(name):
            with pytest.raises(ml.LoraError, match=r"is active|on top of"):
                self.bank.delete_adapter(name)
            return
        self.bank.delete_adapter(name)
        for record in (self.tensors, self.parents, self.configs, self.optimizers):
            del record[name]

    @precondition(lambda self: self.tensors)
    @rule(data=st.data())
    def save_and_load(self, data):
        """An adapter goes into a file and comes back under another name, to the bit; the copy is deleted again."""
        name = data.draw(st.sampled_from([*self.tensors]))
        with tempfile.TemporaryDirectory() as folder:
            self.bank.save_adapter(name, f"{folder}/file.npz")
            self.bank.load_adapter("copy", f"{folder}/file.npz")
        assert_same(self.bank.adapter("copy").tensors, self.tensors[name])
        self.bank.delete_adapter("copy")

    @precondition(lambda self: self.tensors)
    @rule(data=st.data())
    def train_a_step(self, data):
        """One step of one adapter in its own view, whichever is visible; only its own arrays may change."""
        name = data.draw(st.sampled_from([*self.tensors]))
        view = self.bank.view(name)
        if self.has_children(name):
            with pytest.raises(ValueError, match="no parameter trains"):
                ml.loss_and_grads(view, *batch())
            return
        _, grads = ml.loss_and_grads(view, *batch())
        assert all(f".adapters.{name}." in parameter for parameter in grads) and grads
        self.optimizers[name].step(grads)
        trained = self.bank.adapter(name).tensors
        assert any(not np.array_equal(trained[n], array) for n, array in self.tensors[name].items())
        self.tensors[name] = {n: array.copy() for n, array in trained.items()}

    @rule()
    def train_while_merged(self):
        if self.merged is not None:
            with pytest.raises(ml.LoraError, match="merged"):
                ml.loss_and_grads(self.bank.model, *batch())

    # ---------------------------------------------------------------------------- what always holds

    @invariant()
    def no_bit_of_the_base_moves(self):
        assert bits(self.model) == self.before
        assert all(p.data is self.arrays[name] for name, p in self.model.named_parameters().items())

    @invariant()
    def every_adapter_holds_what_the_record_says(self):
        assert self.bank.adapters.keys() == self.tensors.keys()
        for name, tensors in self.tensors.items():
            assert_same(self.bank.adapter(name).tensors, tensors)

    @invariant()
    def the_visible_model_is_the_base_plus_the_sum_of_the_active(self):
        assert is_merged(self.bank.model) == (self.merged is not None)
        assert self.bank.active == self.active
        adapters = self.tensors if self.merged is None else self.merged
        parts = [(self.configs[name], adapters[name]) for name in self.used()]
        assert_within(self.bank.model(batch()[0]), logits_of_sum(self.model, parts, batch()[0]))


TestBankMachine = BankMachine.TestCase
TestBankMachine.settings = settings(max_examples=40, stateful_step_count=20)


# --------------------------------------------------------------------------------------- models of a bank


@pytest.mark.parametrize("names", [("a",), ("b",), ("c",), ("d",), ("e",), ("a", "c"), ("c", "e", "a")])
def test_a_view_is_the_base_plus_the_sum_merged_or_not(names):
    bank, tokens = full_bank(), batch()[0]
    expected = logits_of_sum(bank.base, parts_of(bank, *names), tokens)
    assert_within(bank.view(*names)(tokens), expected)
    assert_within(ml.merge(bank.view(*names))(tokens), expected)
    assert_within(bank.merged_copy(*names)(tokens), expected)


MIXES = [
    ("a", "a", None, "b", "b"),
    ("b", None, "a", "d", "b"),
    ("d", "a", "d", None, "a"),
    (None, None, None, None, None),
    ("e", "e", "e", "e", "e"),
]


@pytest.mark.parametrize("names", MIXES)
def test_each_row_of_a_mixed_batch_is_what_its_adapter_alone_computes(names):
    bank, tokens = full_bank(), batch(B=5)[0]
    logits = bank.mixed(names)(tokens)
    for i, name in enumerate(names):
        row = tokens[i : i + 1]
        expected = logits_of_sum(bank.base, parts_of(bank, *([name] if name else [])), row)
        assert_within(logits[i : i + 1], expected)
        assert_within((bank.view(name) if name else bank.base)(row), expected)


def test_a_mixed_batch_generates_what_each_row_would_alone():
    """With a key/value cache, token by token, the likeliest each time."""
    bank, names, prompts = full_bank(), ("b", None, "a", "b"), batch(B=4, T=2)[0]
    together = ml.generate(bank.mixed(names), prompts, temperature=0)
    for name, prompt, text in zip(names, prompts, together, strict=True):
        alone = bank.view(name) if name else bank.base
        np.testing.assert_array_equal(text, ml.generate(alone, prompt, temperature=0))


def test_rows_of_whole_numbers_are_equal_to_the_bit():
    """Sums of small whole numbers do not round, so here a mixed batch equals each row on its own even in its bits."""
    model = gpt()
    for name, parameter in model.named_parameters().items():
        parameter.data[...] = np.random.default_rng(len(name)).integers(-3, 4, parameter.shape)
    bank = AdapterBank(model)
    for seed, name in enumerate("ab"):
        bank.add_adapter(name, ml.LoraConfig(r=2, lora_alpha=4), seed)
        for array in bank.adapter(name).tensors.values():
            array[...] = np.random.default_rng(seed).integers(-3, 4, array.shape)
    x = np.random.default_rng(0).integers(-3, 4, (5, 3, TINY.n_embd)).astype(float)
    names = ("b", None, "a", "b", None)
    y, _ = bank.mixed(names).blocks[0].attn.q_proj.forward(x)
    for i, name in enumerate(names):
        alone = bank.view(name) if name else bank.base
        np.testing.assert_array_equal(y[i : i + 1], alone.blocks[0].attn.q_proj.forward(x[i : i + 1])[0])


def test_neighbouring_rows_of_one_adapter_are_a_slice():
    layer = full_bank().mixed(["b", "b", None, "a", "b"][:4]).blocks[0].attn.k_proj
    assert [rows for rows, _, _ in layer.routes] == [slice(0, 2)]


def test_a_mixed_model_is_for_its_own_number_of_rows():
    bank = full_bank()
    with pytest.raises(ValueError, match="routes 3 rows to their adapters, the batch has 2"):
        bank.mixed(["a", "b", None])(batch()[0])
    with pytest.raises(ml.LoraError, match="rows of this model use different adapters"):
        ml.merge(bank.mixed(["a", "b", None]))
    with pytest.raises(ValueError, match="wpe cannot be in a mixed batch"):
        bank.mixed(["a", "c"])(batch()[0])


def test_a_view_shares_every_array_of_the_base_and_cannot_write_to_it():
    model = gpt()
    bank = AdapterBank(model)
    bank.add_adapter("a", CONFIGS[0])
    for view in (bank.base, bank.view("a"), bank.mixed(["a", None])):
        for name, parameter in view.named_parameters().items():
            if ".adapters." not in name:
                assert np.shares_memory(parameter.data, model.named_parameters()[name].data)
                with pytest.raises(ValueError, match="read-only"):
                    parameter.data[...] = 0


def test_threads_may_use_different_views_while_the_visible_one_is_switched():
    bank, tokens = full_bank(), batch()[0]
    expected = {name: bank.view(name)(tokens) for name in "abde"}
    wrong = []

    def serve(name: str) -> None:
        for _ in range(50):
            if not np.array_equal(bank.view(name)(tokens), expected[name]):
                wrong.append(name)

    threads = [threading.Thread(target=serve, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for i in range(50):
        bank.set_adapter("abde"[i % 4])
        if not is_merged(bank.model):
            bank.merge()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_merged_switch_is_exact_after_any_number():
    """The thousandth merged model is, bit for bit, the first; and the base is what it was."""
    bank, tokens = full_bank(), batch()[0]
    before, first = bits(bank.base), {}
    bank.set_adapter("a")
    bank.merge()
    for i in range(1000):
        name = "abde"[i % 4]
        bank.set_adapter(name)
        if i < 4 or i >= 996:
            logits = bank.model(tokens)
            np.testing.assert_array_equal(logits, first.setdefault(name, logits))
    bank.unmerge()
    np.testing.assert_array_equal(bank.model(tokens), bank.view("e")(tokens))
    assert bits(bank.base) == before


# --------------------------------------------------------------------------------------- what is refused


def test_what_a_bank_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ml.LoraError, match="starts from a plain base"):
        AdapterBank(ml.add_lora(gpt(), CONFIGS[0]))
    bank = full_bank()
    for name in ("", "a/b", "../a", "a.b", "a b"):
        with pytest.raises(ValueError, match="cannot name an adapter"):
            bank.add_adapter(name, CONFIGS[0])
    with pytest.raises(ValueError, match=r'bias="none"'):
        bank.add_adapter("x", ml.LoraConfig(bias="all"))
    with pytest.raises(ValueError, match="no adapter 'x': it holds a, b, c, d, e"):
        bank.add_adapter("y", CONFIGS[0], parent="x")
    with pytest.raises(ValueError, match="no layer matches"):
        bank.add_adapter("y", ml.LoraConfig(target_modules=("nothing",)))
    with pytest.raises(ValueError, match="disable_adapter"):
        bank.set_adapter()
    with pytest.raises(ml.LoraError, match="'d' was trained on top of 'b'"):
        bank.delete_adapter("b")


def test_an_adapter_file_belongs_to_its_base_and_its_parent(tmp_path):
    bank = full_bank()
    for name in "abd":
        bank.save_adapter(name, tmp_path / f"{name}.npz")
    with pytest.raises(ml.CheckpointError, match="trained on a different base"):
        AdapterBank(gpt(seed=1)).load_adapter("a", tmp_path / "a.npz")
    other = AdapterBank(gpt())
    with pytest.raises(ValueError, match="no adapter 'b'"):
        other.load_adapter("d", tmp_path / "d.npz")
    other.load_adapter("b", tmp_path / "b.npz")
    other.load_adapter("d", tmp_path / "d.npz")
    np.testing.assert_array_equal(other.view("d")(batch()[0]), bank.view("d")(batch()[0]))
    moved = AdapterBank(gpt())
    moved.load_adapter("b", tmp_path / "b.npz")
    moved.adapter("b").tensors["wte.lora_A"][0, 0] += 1
    with pytest.raises(ml.CheckpointError, match="a different version of its parent 'b'"):
        moved.load_adapter("d", tmp_path / "d.npz")
    with pytest.raises(ml.CheckpointError, match="on top of the adapter 'b'"):
        load_adapter(gpt(), tmp_path / "d.npz")


def test_a_bank_and_a_plain_model_read_each_others_files(tmp_path):
    bank = full_bank()
    bank.save_adapter("a", tmp_path / "bank.npz")
    model = load_adapter(gpt(), tmp_path / "bank.npz")
    np.testing.assert_array_equal(model(batch()[0]), bank.view("a")(batch()[0]))
    save_adapter(model, tmp_path / "plain.npz")
    assert (tmp_path / "plain.npz").read_bytes() == (tmp_path / "bank.npz").read_bytes()


# --------------------------------------------------------------------------------------- a folder of adapters


@pytest.fixture
def folder(tmp_path):
    bank = full_bank()
    for name in "abcde":
        bank.save_adapter(name, tmp_path / f"{name}.npz")
    return tmp_path


@given(wishes=st.lists(st.sampled_from(("a", "b", "c", "d", "e")), max_size=30), spare=st.floats(0, 2))
def test_a_folder_keeps_the_least_recently_used_out(folder, wishes, spare):
    """Against the textbook's list: most recent last, ancestors used after their child, first out first."""
    bank = full_bank()
    size = {name: bank.adapter(name).nbytes for name in "abcde"}
    largest = max(sum(size[n] for n in bank.lineage(name)) for name in "abcde")
    store = AdapterFolder(gpt(), folder, max_bytes=int(largest * (1 + spare)))
    recent: list[str] = []
    hits = misses = 0
    for name in wishes:
        view = store.view(name)
        missing = [n for n in bank.lineage(name) if n not in recent]
        misses += len(missing)
        hits += name in recent or any(n in recent for n in bank.lineage(name))
        recent = [n for n in recent if n not in bank.lineage(name)] + bank.lineage(name)[::-1]
        while sum(size[n] for n in recent) > store.max_bytes:
            recent.pop(0)
        assert (store.nbytes, store.hits, store.misses) == (sum(size[n] for n in recent), hits, misses)
        assert store.evictions == misses - len(recent)
    if wishes:
        np.testing.assert_array_equal(view(batch()[0]), bank.view(wishes[-1])(batch()[0]))


def test_a_folder_mixes_and_says_what_it_lacks(folder):
    store = AdapterFolder(gpt(), folder, max_bytes=10**6)
    tokens = batch(B=3)[0]
    np.testing.assert_array_equal(store.mixed(["a", None, "d"])(tokens), full_bank().mixed(["a", None, "d"])(tokens))
    assert (store.hits, store.misses) == (0, 3) and store.names() == ["a", "b", "c", "d", "e"]
    with pytest.raises(ValueError, match="has no adapter 'x': it has a, b, c, d, e"):
        store.view("x")
    with pytest.raises(ValueError, match="cannot name an adapter"):
        store.view("../a")


def test_a_folder_refuses_what_exceeds_its_budget_and_goes_on(folder):
    sizes = {name: read_adapter(folder / f"{name}.npz").nbytes for name in "ab"}
    store = AdapterFolder(gpt(), folder, max_bytes=sum(sizes.values()) - 1)
    with pytest.raises(ValueError, match=f"a, b take {sum(sizes.values()):,} bytes together: raise max_bytes"):
        store.mixed(["a", "b"])
    assert store.nbytes <= store.max_bytes
    store.view("a"), store.view("b")


def test_a_folder_refuses_adapters_that_are_their_own_ancestors(folder):
    write_adapter(replace(read_adapter(folder / "b.npz"), parent="e"), folder / "b.npz")
    with pytest.raises(ml.CheckpointError, match="among its own ancestors"):
        AdapterFolder(gpt(), folder, max_bytes=10**6).view("e")


# ------------------------------------------------------------------------------ what is shared stays as it was


def test_a_view_takes_no_lora_and_no_method():
    base = gpt()
    bank = AdapterBank(base)
    bank.add_adapter("a", ml.LoraConfig(r=2))
    before = bits(bank.base)
    for view in (bank.view("a"), bank.mixed(["a", None])):
        with pytest.raises(ml.LoraError, match="add_adapter"):
            ml.add_lora(view, ml.LoraConfig(r=2))
        with pytest.raises(ValueError, match="fresh base"):
            methods.apply(view, "bitfit")
    ml.add_lora(bank.model, ml.LoraConfig(r=2))  # of the base by itself: a model of its own over shared arrays
    bank.model.unfreeze()
    assert bits(bank.base) == before and not any(p.trainable for p in bank.base.parameters)
    assert not any("lora" in name for name in bank.view().named_parameters())


def test_a_bank_whose_base_was_trained_on_writes_no_adapter(tmp_path):
    base = gpt()
    bank = AdapterBank(base)
    bank.add_adapter("a", ml.LoraConfig(r=2))
    bank.save_adapter("a", tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()
    base.ln_f.bias.data += 1
    with pytest.raises(ml.LoraError, match="make an AdapterBank from a copy"):
        bank.save_adapter("a", tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == before
