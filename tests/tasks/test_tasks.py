"""Splits share nothing, losses count only the answer, answers do not depend on the rest of the batch."""

import ast
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import GPT, ByteTokenizer, GPTConfig, LoraConfig, add_lora, evaluate, generate, methods, tasks
from minilora.tasks import Example, TaskData, code, e2e, nli, originals, sql, summ
from minilora.tasks.decoding import answer
from tests.models import scramble

NAMES = list(tasks.TASKS)
GENERATED = ["e2e", "sql", "nli", "summ"]
texts = st.text("ab é", max_size=6)
examples_of_any_length = st.lists(st.builds(Example, texts.map("p".__add__), texts), min_size=1, max_size=7)


@pytest.fixture(scope="module")
def loaded():
    """Each task, small."""
    return {name: tasks.load(name, seed=3, train=300, valid=40, test=50) for name in NAMES}


# ------------------------------------------------------------------------------------------------ any task


@pytest.mark.parametrize("name", NAMES)
def test_splits_have_the_requested_sizes_and_fit_the_block(loaded, name):
    task = loaded[name]
    assert [len(split) for split in (task.train, task.valid, task.test)] == [300, 40, 50]
    for example in task.train + task.valid + task.test:
        assert example.prompt.endswith("\n>") and example.prompt.count(">") == 1 and example.answer
        assert len(example) == len((example.prompt + example.answer + "\n").encode()) <= tasks.MAX_BYTES
        assert name == "code" or tasks.END not in example.answer
    assert np.median([len(example) for example in task.train]) < 200
    assert max(len(example.answer.encode()) for example in task.train) + 1 == task.max_new


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_every_example(name):
    first, again, other = (tasks.load(name, seed=seed, train=40, valid=5, test=5) for seed in (3, 3, 4))
    assert (again.train, again.valid, again.test) == (first.train, first.valid, first.test)
    assert other.train != first.train and other.test != first.test


INVENTED = set(f"{summ.NAMES} {summ.TREATS} {summ.THINGS} {summ.EVENTS}".split())
UNSHARED = {  # what no two splits have in common: task -> what an example has of it
    **{name: lambda example: {example.prompt} for name in GENERATED},
    "code": lambda example: {example.prompt + example.answer},
    "e2e's restaurants": lambda example: {example.meta["meaning"].get(slot) for slot in ("name", "near")} - {None},
    "sql's schemas": lambda example: {(example.meta["table"].name, frozenset(example.meta["table"].columns))},
    "summ's people, things and events": lambda example: INVENTED & set(re.findall(r"\w+", example.answer)),
}


@pytest.mark.parametrize("what", UNSHARED)
def test_splits_share_nothing_and_no_prompt_occurs_twice_in_valid_or_test(loaded, what):
    task = loaded[what.partition("'")[0]]
    train, valid, test = (set().union(*map(UNSHARED[what], split)) for split in (task.train, task.valid, task.test))
    assert min(map(len, (train, valid, test))) >= 12 and not (train & valid or train & test or valid & test)
    if what in NAMES:
        assert len(valid) == len(task.valid) and len(test) == len(task.test)


@pytest.mark.parametrize("name", GENERATED)
def test_the_right_answers_score_best_and_baselines_worse(loaded, name):
    task = loaded[name]
    best = task.score(task.test, [example.answer for example in task.test])
    assert tuple(best) == task.metrics
    headline = task.metrics[0]
    assert best[headline] == pytest.approx(100 if headline == "bleu" else 1)
    baselines = task.baselines()
    assert "copy" in baselines and baselines.keys() & {"chance", "majority"}
    for baseline, scores in baselines.items():
        assert tuple(scores) == task.metrics
        assert scores[headline] < 0.7 * best[headline] or baseline == "first reference"


def test_a_score_needs_one_answer_per_example(loaded):
    task = loaded["nli"]
    with pytest.raises(ValueError, match="1 answers to 50 examples: give one for each"):
        task.score(task.test, ["yes"])
    with pytest.raises(ValueError, match="at least one"):
        task.score([], [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "poetry"}, "task 'poetry' is unknown: choose from code, e2e, sql, nli, summ"),
        ({"name": "sql", "test": 0}, "test, a number of examples, is 0: give a whole number of at least 1"),
        ({"name": "sql", "folder": "."}, "sql reads no folder: leave it out"),
        ({"name": "e2e", "folder": "."}, "has no train.csv or trainset.csv"),
    ],
)
def test_the_error_of_a_wrong_request_names_the_cure(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        tasks.load(**wrong)


# --------------------------------------------------------------------------------------------- TaskData


@given(examples_of_any_length, st.integers(1, 4))
def test_batches_hold_every_example_once_and_count_only_its_answer(examples, batch_size):
    rows = []
    for tokens, targets, weights in TaskData(examples).batches(batch_size):
        assert tokens.shape == targets.shape == weights.shape and len(tokens) <= batch_size
        np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
        assert weights.max(axis=0)[-1] == 1  # padded to the longest in the batch, not further
        for row, target, weight in zip(tokens, targets, weights, strict=True):
            text = bytes([row[0], *target]).rstrip(b"\0").decode()
            assert set(weight) <= {0, 1}
            rows.append((text, bytes(target[weight == 1].astype(np.uint8)).decode()))
    expected = [(ex.prompt + ex.answer + "\n", ex.answer + "\n") for ex in examples]
    assert Counter(rows) == Counter(expected)


def test_a_sample_is_random_examples_of_the_split():
    examples = [Example(f"{i}\n", "a" * i) for i in range(5)]
    batch = TaskData(examples).sample(np.random.default_rng(0), 300)
    assert Counter(batch.weights.sum(axis=1)).keys() == {1, 2, 3, 4, 5}  # the answer's length and its END


def test_examples_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="an example takes 11 bytes and block_size is 10"):
        TaskData([Example("12345\n", "1234")], block_size=10)
    with pytest.raises(ValueError, match="no examples"):
        TaskData([])


# ---------------------------------------------------------------------------------------------- decoding

SMALL = GPTConfig(vocab_size=256, block_size=24, n_layer=2, n_head=2, n_embd=8, dtype="float64")


def chatty(seed: int, ending: float) -> GPT:
    """A random model that ends its lines often, so that answers of many lengths occur."""
    model = scramble(GPT(SMALL), seed)
    model.wte.weight.data[:] *= 0.3
    model.wte.weight.data[ord("\n")] += ending * model.ln_f.bias.data
    return model


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**16),
    st.lists(st.text("abc\n", min_size=1, max_size=20), min_size=1, max_size=9),
    st.integers(0, 30),
)
def test_answering_together_equals_answering_one_by_one(seed, prompts, max_new):
    model = add_lora(chatty(seed, 2.0), LoraConfig(r=2))
    examples = [Example(prompt, "") for prompt in prompts]
    together = answer(model, examples, max_new, batch_size=4)
    for prompt, text in zip(prompts, together, strict=True):
        tokens = ByteTokenizer().encode(prompt)
        alone = generate(model, tokens, max_new, temperature=0, stop=ord("\n"))[len(tokens) :]
        assert text == ByteTokenizer().decode(alone).partition("\n")[0]


@pytest.mark.parametrize("method", ["lora_pre_embed", "lora_pre_layer", "adapter_h"])
def test_special_tokens_leave_less_room_for_answers(method):
    """Each special token takes a position of the context; answers end where it is full, in a batch or one by one."""
    model = scramble(methods.apply(GPT(SMALL), method, seed=0))
    examples = [Example(prompt, "") for prompt in ("a", "bc>", "def\nabc>")]
    together = answer(model, examples)
    assert together == [answer(model, [example])[0] for example in examples]
    assert max(len(text.encode("latin-1", "replace")) for text in together) < model.max_tokens


def test_answers_end_at_the_marker_at_max_new_or_with_the_block():
    lengths = {name: [] for name in ("marker", "max_new", "block")}
    for seed in range(20):
        model = chatty(seed, 2.0)
        text, cut = (answer(model, [Example("ab", "")], max_new)[0] for max_new in (None, 3))
        ended = len(ByteTokenizer().encode(text)) < SMALL.block_size - 2
        lengths["marker" if ended else "block"].append(text)
        lengths["max_new"].append(cut)
        assert text.startswith(cut.rstrip("\ufffd"))
    assert lengths["marker"] and lengths["block"]


@pytest.mark.parametrize("prompt", ["", "x" * 24])
def test_a_prompt_without_room_is_refused(prompt):
    with pytest.raises(ValueError, match="give 1 to 23, so that at least one more"):
        answer(chatty(0, 0), [Example(prompt, "")])


# -------------------------------------------------------------------------------------------------- code


def test_code_is_real_functions_split_by_module(loaded):
    task = loaded["code"]
    for example in task.test:
        source = example.prompt.removesuffix(">") + example.answer
        ast.parse(source)
        assert source.startswith("def ") and example.prompt.rstrip("\n>")[-1] in "\"'"
    bodies = [example.answer for split in (task.train, task.valid, task.test) for example in split]
    assert len(set(bodies)) == len(bodies)


def test_a_function_is_split_after_its_docstring():
    source = '''
class A:
    @property
    def f(self, x=1):
        """Doc
        string."""
        # why
        if x:
            return 1

    def no_docstring(self): return 1
    def one_line(self): "doc"; return 2
    def nothing_else(self):
        "doc"
'''
    [example] = code.functions(source)
    assert example.prompt == 'def f(self, x=1):\n    """Doc\n    string."""\n>'
    assert example.answer == "    # why\n    if x:\n        return 1"
    assert list(code.functions("def broken(:")) == []


def test_code_is_measured_by_the_loss_of_the_body(loaded):
    task = loaded["code"]
    with pytest.raises(ValueError, match=r"evaluate\(model, TaskData"):
        task.score(task.test, [""] * 50)
    baselines = task.baselines()
    uniform = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=4, block_size=320), seed=None)  # logits 0: a uniform guess
    loss = evaluate(uniform, TaskData(task.test))
    assert baselines["chance"]["nats_per_byte"] == math.log(256) == pytest.approx(loss, rel=1e-6)
    assert 2 < baselines["byte frequencies"]["nats_per_byte"] < 4 > baselines["copy"]["nats_per_byte"] > 2


# --------------------------------------------------------------------------------------------------- e2e


def test_invented_restaurants_are_described_in_full_by_every_plan(loaded):
    task = loaded["e2e"]
    for example in task.test:
        assert len(set(example.references)) == 4 and example.answer == example.references[0]
    for plan in range(4):
        assert task.score(task.test, [ex.references[plan] for ex in task.test])["slot_error"] == 0


MEANING = {"name": "The Old Mill", "price": "cheap", "family": "no"}
SLOTS = {"name": {"The Old Mill", "The Red Fox"}, "near": {"The Red Fox"}, "area": {"harbour"}} | {
    "price": {"cheap", "expensive"},
    "family": {"yes", "no"},
}


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("The Old Mill is cheap. It is not for families.", 0),
        ("The Old Mill is cheap. It is for families.", 1),  # the wrong value
        ("The Old Mill is cheap.", 1),  # one missing
        ("", 3),
        ("The Old Mill is expensive. Adults only.", 1),
        ("The Old Mill near The Red Fox in the harbour is cheap. Adults only.", 2),  # two added
    ],
)
def test_slot_errors_are_what_is_missing_wrong_or_added(text, errors):
    assert e2e.slot_errors(MEANING, text, SLOTS) == errors


CSV = '"mr","ref"\n'


def write_e2e(folder, rows: dict[str, int], name: str) -> None:
    lines = [
        f'"name[{who}], area[riverside]","{who} is café {i} by the river."' for who, n in rows.items() for i in range(n)
    ]
    (folder / name).write_text(CSV + "\n".join(lines), encoding="utf-8")


def test_real_files_are_read_and_references_grouped_by_meaning(tmp_path):
    write_e2e(tmp_path, {"A": 3, "B": 2}, "trainset.csv")
    write_e2e(tmp_path, {"C": 2, "D": 3, "E": 1}, "devset.csv")
    task = tasks.load("e2e", folder=tmp_path)
    assert Counter(example.meta["meaning"]["name"] for example in task.train) == {"A": 3, "B": 2}
    assert {ex.meta["meaning"]["name"]: len(ex.references) for ex in task.valid} == {"C": 2, "E": 1}
    assert {ex.meta["meaning"]["name"]: len(ex.references) for ex in task.test} == {"D": 3}
    write_e2e(tmp_path, {"F": 1}, "test.csv")
    assert [ex.prompt for ex in tasks.load("e2e", folder=tmp_path).test] == ["name[F], area[riverside]\n>"]


def test_files_without_the_columns_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    (tmp_path / "valid.csv").write_text(CSV)
    with pytest.raises(ValueError, match=r"has the columns \['a', 'b'\]: an E2E file has mr and ref"):
        tasks.load("e2e", folder=tmp_path)


# --------------------------------------------------------------------------------------------------- sql


def test_every_query_has_the_task_s_form_and_its_conditions_matter(loaded):
    for example in loaded["sql"].test:
        query, table = sql.parse(example.answer), example.meta["table"]
        assert query is not None and sql.write(query) == example.answer and 1 <= len(query.conditions) <= 2
        full = sql.execute(table, example.answer)
        assert full is not None and sum(full.values()) >= 1
        assert full != sql.execute(table, sql.write(query._replace(conditions=frozenset())))


TABLE = sql.Table("boats", ("owner", "price"), [("Anna", 3), ("Ben", 5), ("Anna", 9)])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT owner FROM boats WHERE price > 4", ["Ben", "Anna"]),
        ("select OWNER from boats where price > 4", ["Anna", "Ben"]),  # the order of rows does not matter
        ("SELECT MAX(price) FROM boats WHERE owner = 'Anna'", [9]),
        ("SELECT COUNT(*) FROM boats WHERE owner = 'Anna' AND price < 5", [1]),
        ("SELECT owner FROM boats WHERE price > 90", []),
    ],
)
def test_queries_are_executed(query, rows):
    assert sql.execute(TABLE, query) == Counter((row,) for row in rows)


@pytest.mark.parametrize(
    "query",
    [
        "boats",
        "SELECT owner FROM cats",
        "SELECT a\0b",
        "SELECT owner FROM boats; SELECT owner FROM boats",
        "DELETE FROM boats",
        "DROP TABLE boats",
        "INSERT INTO boats VALUES ('x', 1)",
        "CREATE TABLE cats (a)",
        "ATTACH DATABASE 'file.db' AS f",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "SELECT randomblob(1000000000)",
        "SELECT printf('%.*c', 1000000000, 'x')",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "SELECT COUNT(*) FROM " + ", ".join(["boats"] * 20),
        "SELECT 1 FROM " + ", ".join(f"boats AS b{i}" for i in range(30)),
        "SELECT " + "(" * 5000,
    ],
)
def test_a_query_that_does_more_than_read_a_little_fails(query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sql.execute(TABLE, query) is None
    assert list(tmp_path.iterdir()) == []


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_text_breaks_the_scorer(text):
    for query in (text, "SELECT owner FROM boats WHERE " + text):
        result = sql.execute(TABLE, query)
        assert result is None or isinstance(result, Counter)
        sql.parse(query)


def test_logical_form_ignores_order_spaces_and_case():
    true = sql.parse("SELECT price FROM boats WHERE age > 3 AND owner = 'Anna'")
    assert true == sql.parse("select price  from boats where owner='Anna' and age>3")
    assert true != sql.parse("SELECT price FROM boats WHERE age > 3 AND owner = 'anna'")
    assert true != sql.parse("SELECT MAX(price) FROM boats WHERE age > 3 AND owner = 'Anna'")
    assert sql.parse("SELECT price FROM boats WHERE") is None


def test_another_query_with_the_same_result_is_right_only_by_execution():
    example = Example("", "SELECT owner FROM boats WHERE price > 4", meta={"table": TABLE})
    assert sql.score([example], ["SELECT owner FROM boats WHERE price > 3"]) == {"execution": 1, "logical_form": 0}
    assert sql.score([example], ["SELECT owner FROM boats"]) == {"execution": 0, "logical_form": 0}


# --------------------------------------------------------------------------------------------------- nli

SENTENCE = re.compile(
    r"An? (?:(?:small|old|tired|happy) )?(?P<subject>\w+) is"
    r"(?: (?P<doing>\w+ing))?(?: in the (?P<place>\w+))?(?: at \w+| today)?\."
)
KIND_OF = {word: kind for kind, words in nli.KINDS.items() for word in words}


def judged(premise: str, hypothesis: str) -> str:
    """The label that follows from the two sentences."""
    p, h = SENTENCE.fullmatch(premise), SENTENCE.fullmatch(hypothesis)
    verdicts = []
    for aspect in ("doing", "place"):
        if h[aspect]:
            verdicts.append("maybe" if p[aspect] is None else "yes" if p[aspect] == h[aspect] else "no")
    assert KIND_OF.get(p["subject"], p["subject"]) == KIND_OF.get(h["subject"], h["subject"])  # both of one kind
    verdicts.append("yes" if h["subject"] in (p["subject"], KIND_OF.get(p["subject"])) else "maybe")
    return "no" if "no" in verdicts else "maybe" if "maybe" in verdicts else "yes"


def test_every_label_is_true(loaded):
    for split in (loaded["nli"].train, loaded["nli"].valid, loaded["nli"].test):
        for example in split:
            assert judged(example.meta["premise"], example.meta["hypothesis"]) == example.answer


def test_labels_are_balanced_and_the_hypothesis_gives_nothing_away():
    """By chance a third is right; the accuracy over 1,500 answers is within five standard deviations, 0.061."""
    task = tasks.load("nli", train=3000, valid=1, test=1500)
    assert Counter(example.answer for example in task.test) == {"yes": 500, "maybe": 500, "no": 500}
    baselines = task.baselines()
    assert baselines["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert abs(baselines["hypothesis only"]["accuracy"] - 1 / 3) < 5 * math.sqrt(2 / 9 / 1500)


# -------------------------------------------------------------------------------------------------- summ


def test_what_a_summary_names_is_in_the_dialogue(loaded):
    for example in loaded["summ"].train:
        for word in re.findall(r"[A-Z]\w+|\d+", example.answer):
            assert re.search(rf"\b{word}\b", example.prompt)
        assert 4 <= len(example.prompt.splitlines()) <= 7


# ------------------------------------------------------------------------------- the data sets' own files


def write_originals(folder):
    """A few lines in the formats of WikiSQL, SAMSum and MultiNLI, made up."""
    table = {"id": "1-2", "header": ["Ship", "Year built"], "types": ["text", "real"], "rows": [["Ann's", 1901]]}
    queries = [
        {"sel": 1, "agg": 0, "conds": [[0, 0, "Ann's"], [1, 1, 1900]]},
        {"sel": 0, "agg": 3, "conds": []},
    ]
    asked = [{"phase": 1, "table_id": "1-2", "question": f"question {i}?", "sql": q} for i, q in enumerate(queries)]
    labels = ("entailment", "-", "neutral")
    judged = [{"gold_label": label, "sentence1": f"One {label}. ", "sentence2": "Two."} for label in labels]
    for name, rows in (("train.tables", [table]), ("train", asked), ("multinli_1.0_train", judged)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dialogue = {"id": "1", "dialogue": "Ann: Tea?\r\nBen: Yes.", "summary": "Ben wants tea. "}
    (folder / "train.json").write_text(json.dumps([dialogue]))


def test_the_published_files_become_prompts_and_answers(tmp_path):
    write_originals(tmp_path)
    assert originals.read("sql", tmp_path) == [
        (
            "table(Ship, Year built)\nquestion 0?\n>",
            "SELECT Year built FROM table WHERE Ship = 'Ann''s' AND Year built > 1900",
        ),
        ("table(Ship, Year built)\nquestion 1?\n>", "SELECT COUNT(Ship) FROM table"),
    ]
    assert originals.read("summ", tmp_path) == [("Ann: Tea?\nBen: Yes.\n>", "Ben wants tea.")]
    assert originals.read("nli", tmp_path) == [
        ("One entailment.\nTwo.\n>", "entailment"),
        ("One neutral.\nTwo.\n>", "neutral"),
    ]


def test_a_missing_or_foreign_file_names_the_cure(tmp_path):
    for task, name in (("sql", "train.tables.jsonl"), ("summ", "train.json"), ("nli", "multinli_1.0_train.jsonl")):
        with pytest.raises(ValueError, match=re.escape(f"has no {name}: give the folder")):
            originals.read(task, tmp_path)
    with pytest.raises(ValueError, match=r"no train.csv or trainset.csv"):
        originals.read("e2e", tmp_path)
    write_originals(tmp_path)
    for text in ("{", "[1]", '{"a": 1}'):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(ValueError, match="does not hold the data set"):
            originals.read("summ", tmp_path)
