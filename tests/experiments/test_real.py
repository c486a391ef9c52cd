"""The runs on a real model, on a tiny one and a few made-up restaurants."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minilora.cli.main import main
from minilora.experiments.engine.experiment import Score
from minilora.experiments.engine.run import FIELDS
from minilora.experiments.real import data as real_data
from minilora.experiments.real import page as real_page
from minilora.experiments.real import plan as real_plan
from minilora.experiments.real import run as real_run
from minilora.experiments.real import scores as real_scores
from minilora.experiments.real.data import Pair, Prompting, encode
from minilora.experiments.real.plan import QUICK, Plan, Scale
from minilora.experiments.real.run import RealConfig, batches
from minilora.experiments.real.scores import answer, calibration, copies, interval, mean, scored
from minilora.experiments.real.updates import shared
from minilora.files.adapter import Adapter
from minilora.hf import load_pretrained
from minilora.tasks import load
from minilora.text import RowData
from minilora.train import evaluate
from tests.hf_folders import write_tokenizer
from tests.llama_files import write_folder

NAMES = ("Aromi", "Blue Spice", "Clowns", "Fitzbillies", "Giraffe", "Loch Fyne", "Midsummer House", "Strada")


def meaning(name, food="Thai"):
    return f"name[{name}], food[{food}], area[riverside]"


def sentences(name, food="Thai"):
    return [f"{name} serves {food} food by the river.", f"By the river, {name} offers {food} dishes."]


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("mr", "ref"), *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made-up E2E files: the names of the first half to train on, the rest for valid."""
    folder = tmp_path_factory.mktemp("e2e")
    pairs = [(meaning(n, food), s) for n in NAMES[:4] for food in ("Thai", "Greek") for s in sentences(n, food)]
    write_csv(folder / "trainset.csv", pairs)
    write_csv(folder / "devset.csv", [(meaning(n), s) for n in NAMES[4:] for s in sentences(n)])
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny Llama with a tokenizer."""
    folder = write_folder(tmp_path_factory.mktemp("tiny") / "base", max_position_embeddings=512)
    write_tokenizer(folder, " ".join(meaning(n) + " ".join(sentences(n)) for n in NAMES))
    return folder


@pytest.fixture
def tested(monkeypatch):
    """Two of the made-up meanings are the development test."""
    monkeypatch.setattr(real_data, "DEVELOPMENT_TEST", [real_data.digest(meaning(n)) for n in NAMES[4:6]])


# ------------------------------------------------------------------------------------------------- the data


def test_the_split_is_by_hash_and_no_meaning_is_in_two_parts(folder, tested):
    data = real_data.load(folder)
    assert [ex.meta["meaning"]["name"] for ex in data.test] == ["Giraffe", "Loch Fyne"]
    assert {pair.mr for pair in data.rates} == {meaning(n) for n in NAMES[6:]}
    assert len(data.train) == 16 and not {pair.mr for pair in data.train} & {pair.mr for pair in data.rates}
    assert [len(ex.references) for ex in data.test] == [2, 2]
    assert real_data.load(folder).digests == data.digests


def test_the_development_test_is_43_meanings():
    assert len(set(real_data.DEVELOPMENT_TEST)) == len(real_data.DEVELOPMENT_TEST) == 43


def test_another_file_may_test_and_the_official_name_is_known(folder, tested, tmp_path):
    write_csv(tmp_path / "testset_w_refs.csv", [(meaning("Alimentum"), s) for s in sentences("Alimentum")])
    data = real_data.load(folder, tmp_path / "testset_w_refs.csv")
    assert [ex.meta["meaning"]["name"] for ex in data.test] == ["Alimentum"]
    assert data.digests[0] == real_data.load(folder).digests[0] and data.digests[1] != real_data.load(folder).digests[1]
    for name in ("trainset.csv", "devset.csv"):
        shutil.copy(folder / name, tmp_path)
    assert [ex.meta["meaning"]["name"] for ex in load("e2e", folder=tmp_path).test] == ["Alimentum"]


def test_what_is_missing_is_named_with_the_cure(folder, tmp_path, capsys):
    assert main(["reproduce", "real"]) == 2
    said = capsys.readouterr().err
    assert "trainset.csv" in said and "devset.csv" in said and "--data" in said and "CC BY-SA 4.0" in said
    assert main(["reproduce", "table6", "--data", str(folder)]) == 2
    assert "--data belongs to real" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no folder.*trainset\.csv"):
        real_data.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no train.csv or trainset.csv"):
        real_data.load(tmp_path)
    with pytest.raises(ValueError, match="give --test FILE"):
        real_data.load(folder)  # made-up meanings are none of the 43
    with pytest.raises(ValueError, match="8 meanings to test on are also in the training file"):
        real_data.load(folder, folder / "trainset.csv")


def test_the_loss_is_on_the_sentence_and_its_end(base):
    _, tokenizer = load_pretrained(base)
    pair = Pair(meaning("Aromi"), "Aromi serves Thai food.")
    tokens, weights = encode(pair, tokenizer)
    assert tokenizer.decode(tokens[weights > 0]).startswith(" Aromi serves Thai food.")
    assert tokenizer.decode(tokens[weights == 0]) == f"{pair.mr}\n>"
    shot = Pair(meaning("Strada"), "Strada is Thai.")
    tokens, weights = encode(pair, tokenizer, Prompting(shots=1), [shot])
    assert tokenizer.decode(tokens[weights == 0]) == f"{shot.mr}\n> {shot.sentence}\n\n{pair.mr}\n>"


def test_copied_tokens_are_those_of_names(base):
    _, tokenizer = load_pretrained(base)
    pair = Pair("name[Blue Spice], near[Clowns]", "The Blue Spice is near Clowns.")
    tokens, weights = encode(pair, tokenizer)
    mine = tokens[weights > 0]
    found = tokenizer.decode(mine[copies(pair.mr, f" {pair.sentence}", tokenizer, len(mine))])
    assert found.replace(" ", "") == "BlueSpiceClowns"


def test_the_loss_is_evaluate_s_and_its_temperatures_are_those_of_the_logits(base):
    model, tokenizer = load_pretrained(base)
    pairs = [Pair(meaning(n), s) for n in NAMES for s in sentences(n)]
    facts = real_scores.on_pairs(model, tokenizer, pairs, Prompting(), [])
    rows, weights = zip(*(encode(pair, tokenizer) for pair in pairs), strict=True)
    assert facts["loss"] == pytest.approx(evaluate(model, RowData(rows, weights)), rel=1e-5)
    z = np.random.default_rng(0).standard_normal((40, 7))
    z -= z.max(axis=-1, keepdims=True)
    found = real_scores._log_normalizers(z, np.array([1.0, 0.8]))
    assert found == pytest.approx(np.stack([np.log(np.exp(z / T).sum(-1)) for T in (1.0, 0.8)], axis=1), rel=1e-6)


def test_a_model_that_is_as_right_as_it_is_sure_is_calibrated():
    bins = calibration(np.array([0.25, 0.25, 0.25, 0.25, 1.0]), np.array([1, 0, 0, 0, 1]))
    assert bins[2] == [4, 0.25, 0.25] and bins[9] == [1, 1.0, 1.0] and sum(n for n, _, _ in bins) == 5


# ------------------------------------------------------------------------------------------------ one run


def config_for(data, base, **changes):
    fields = {"method": "lora", "lr": 1e-2, "train": 12, "options": {"r": 2, "target_modules": ["q_proj"]}}
    fields |= {"batch_size": 4, "base": real_run.file_hash(base), "data": data.digests[0], "test": data.digests[1]}
    return RealConfig(**fields | changes)


def test_a_batch_order_holds_every_pair_once(folder, base, tested):
    data, (_, tokenizer) = real_data.load(folder), load_pretrained(base)
    config = config_for(data, base, train=13)
    found = [row.tolist() for batch in batches(tokenizer, config, data) for row in batch.tokens]
    assert len(found) == 13 and config.steps == 4
    texts = sorted(tokenizer.decode(row[:20]) for row in found)
    assert texts == sorted(tokenizer.decode(encode(pair, tokenizer)[0][:20]) for pair in data.train[:13])


def test_a_run_is_measured_and_resumes_bit_for_bit(folder, base, tested, tmp_path, monkeypatch):
    data = real_data.load(folder)
    config = config_for(data, base)
    whole = real_run.run(config, data, base, tmp_path)
    searched = real_run.run(replace(config, test=""), data, base, tmp_path)
    assert searched["valid_loss"] > 0 and searched["test"] == {}, "from the adapter"
    assert len(whole["losses"]) == 3 and whole["trainable"] == 2 * 2 * (64 + 64)
    assert set(whole["updates"]) == {"q_proj"} and 0 < whole["updates"]["q_proj"]["norm"] < 1
    test = whole["test"]
    assert test["interval"].keys() == {"bleu", "nist", "rouge_l", "cider", "slot_error"}
    assert test["pairs"]["loss"] == whole["test_loss"]
    tokens = [n for _, n in test["pairs"]["each"]]
    again = np.dot([loss for loss, _ in test["pairs"]["each"]], tokens) / sum(tokens)
    assert again == pytest.approx(whole["test_loss"], abs=1e-3), "rounded to three digits"
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"], "no state is left"
    shutil.rmtree(tmp_path / "adapters")

    monkeypatch.setattr(real_run, "SAVE_EVERY", -1.0)
    steps = real_run.ml.loss_and_grads
    calls = []

    def stopped(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return steps(*arguments, **named)

    monkeypatch.setattr(real_run.ml, "loss_and_grads", stopped)
    with pytest.raises(KeyboardInterrupt):
        real_run.run(config, data, base, tmp_path)
    assert (tmp_path / f"{config.training}.state").exists()
    resumed = real_run.run(config, data, base, tmp_path)
    assert len(calls) == 4, "two steps, the one that was interrupted, and that one again"
    for name in ("losses", "valid_loss", "test"):
        assert resumed[name] == whole[name]

    other = real_run.run(replace(config, test="other"), data, base, tmp_path)
    assert len(calls) == 4 and other["test"] == whole["test"], "the adapter is there: nothing trains"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_diverges_says_so(folder, base, tested, tmp_path):
    data = real_data.load(folder)
    with np.errstate(all="ignore"):
        result = real_run.run(config_for(data, base, method="full", options={}, lr=1e30), data, base, tmp_path)
    assert "step" in result["diverged"] and result["valid_loss"] is None and result["test"] == {}
    assert result.keys() >= FIELDS, "it is stored, and not tried again"


def test_an_adapter_shares_all_directions_with_itself_and_few_with_noise():
    rng = np.random.default_rng(0)
    one, other = (
        Adapter(None, "", None, {f"blocks.{i}.attn.q_proj.lora_A": rng.standard_normal((4, 400)) for i in range(9)})
        for _ in range(2)
    )
    assert shared(one, one) == {"q_proj": {"top": 1.0, "all": 1.0, "chance": 0.01}}
    assert shared(one, other)["q_proj"]["all"] == pytest.approx(0.01, abs=0.005)


def test_answers_do_not_depend_on_who_else_is_asked(folder, base, tested):
    data, (model, tokenizer) = real_data.load(folder), load_pretrained(base)
    meanings = [meaning(n) for n in NAMES[:3]]
    together = answer(model, tokenizer, meanings, Prompting(), data.train)
    assert together == [answer(model, tokenizer, [mr], Prompting(), data.train)[0] for mr in meanings]


def test_perfect_answers_score_perfectly_and_the_interval_is_a_point(folder, tested):
    data = real_data.load(folder)
    result = scored(data, [ex.references[0] for ex in data.test])
    assert result["bleu"] == pytest.approx(100) and result["rouge_l"] == 1 and result["slot_error"] == 0
    assert result["named"] == 1 and result["interval"]["bleu"] == pytest.approx([100, 100])
    assert interval(np.array([[1.0, 1], [3, 1]]), mean) == [1.0, 3.0]


# ------------------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def measured(folder, base, tmp_path_factory):
    """A run's result, to make up others from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_data, "DEVELOPMENT_TEST", [real_data.digest(meaning(n)) for n in NAMES[4:6]])
        data = real_data.load(folder)
        return real_run.run(config_for(data, base), data, base, tmp_path_factory.mktemp("run"))


def as_of(measured, config, **changes):
    """The result, as if it were of this config."""
    if not config.test:
        return made_up(config, abs(np.log10(config.lr) + 3)) | {"seconds": 1, "made_by": {"commit": "c0ffee"}}
    changes |= {"config": json.loads(config.text), "made_by": {"commit": "c0ffee"}, "lora": {}}
    return measured | changes | ({} if config.train else {"test_loss": None})


def test_the_page_names_what_has_not_run_and_shows_what_has(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(real_scores, "RESAMPLES", 10)
    plan = Plan(Scale(), "b", "d", "t")
    assert real_page.section(tmp_path) == ""
    steps = 0
    while config := plan.next():
        plan.results[config.text] = as_of(measured, config)
        steps += 1
        if steps in (1, 8, 9, 15, 40):
            text = real_page.page(plan, tmp_path)
            assert "Not run yet: " in text and "nan" not in text, steps
    text = real_page.page(plan, tmp_path)
    missing = [line for line in text.splitlines() if line.startswith("Not run yet")]
    assert missing == ["Not run yet: r = 8 and r = 64; r = 4, two seeds."], "their adapters are nowhere"
    bleu = f"{measured['test']['bleu']:.1f}"
    assert f"| LoRA, r = 4 on q, v, 500 pairs | {measured['trainable']:,} | 0.001 | 3 | {bleu} ± 0.0 [" in text
    assert "nan" not in text and real_page.NOT_YET not in text
    assert "3 of 3 seeds" in text and "c0ffee" in text


def test_a_cell_whose_runs_all_diverged_says_so(measured):
    plan, cell = Plan(Scale(), "b", "d", "t"), real_plan.Cell("lora", 500, 1.0)
    assert real_page.cell_text(plan, cell, "bleu") == real_page.NOT_YET
    for config in plan.runs(cell):
        plan.results[config.text] = made_up(config)
    assert real_page.cell_text(plan, cell, "bleu") == real_page.NOT_YET, "a search, whose scores nobody asked for"
    for config in plan.runs(cell):
        plan.results[config.text] = made_up(config) | {"diverged": "step 3: the loss is nan"}
    assert real_page.cell_text(plan, cell, "bleu") == "diverged"
    config = plan.runs(cell)[1]
    plan.results[config.text] = as_of(measured, config)
    assert real_page.cell_text(plan, cell, "loss").startswith(f"{measured['test_loss']:.3f} [")


def test_the_section_is_made_from_the_files_alone(measured, tmp_path):
    plan, folder = Plan(Scale(), "b", "d", "t"), tmp_path / real_page.FOLDER
    folder.mkdir(parents=True)
    for _ in range(9):
        config = plan.next()
        plan.results[config.text] = as_of(measured, config)
        (folder / f"{config.key}.json").write_text(json.dumps(plan.results[config.text], default=str))
    (folder / "broken-half.json").write_text("{")
    assert real_page.section(tmp_path) == real_page.page(plan, folder)


def test_scores_within_a_deviation_are_not_worse():
    assert real_page.not_worse(Score(50, 2, 3), Score(51, 1, 3), "bleu")
    assert not real_page.not_worse(Score(49, 1, 3), Score(51, 1, 3), "bleu")
    assert real_page.not_worse(Score(1.2, 0, 1), Score(1.3, 0, 1), "loss")
    assert not real_page.not_worse(Score(1.4, 0.05, 3), Score(1.3, 0.05, 3), "loss")


# ------------------------------------------------------------------------------------------------ the plan


def made_up(config, loss=2.0):
    result = {"config": json.loads(config.text), "trainable": 1, "total": 2, "test": {}}
    return result | {"valid_loss": loss, "test_loss": loss}


def test_the_headline_comes_first_and_a_rate_is_searched_beyond_the_ends():
    plan = Plan(Scale(), "b", "d", "t")
    best = {"lora": 1e-3, "full": 3e-4}
    for _ in range(200):
        config = plan.next()
        if config.seed == 2:
            break
        distance = abs(np.log(config.lr / best[config.method])) if config.train else None
        plan.results[config.text] = made_up(config, distance)
    made = [json.loads(text) for text in plan.results]
    done = [c for c in made if c["train"]]
    assert [c["method"] for c in made[4:7]] == ["lora", "base", "base"], "a search, a run, and the base beside it"
    searched = {m: sorted(c["lr"] for c in done if c["method"] == m and not c["test"]) for m in best}
    assert searched == {"lora": [3e-4, 1e-3, 3e-3, 1e-2], "full": [3e-5, 1e-4, 3e-4, 1e-3]}
    tested = [(c["method"], c["train"], c["seed"]) for c in done if c["test"]]
    assert tested == [("lora", 200, 0), *((m, 500, seed) for seed in (0, 1) for m in ("lora", "full"))]
    assert all(c["lr"] == best[c["method"]] for c in done if c["test"])


def test_every_cell_of_every_section_is_planned_once_and_every_method_fits_the_model():
    plan = Plan(QUICK, "b", "d", "t")
    while config := plan.next():
        assert config.text not in plan.results
        plan.results[config.text] = made_up(config)
    for cells in plan.sections().values():
        for cell in cells:
            assert all(config.text in plan.results for config in plan.runs(cell))
    keys = [json.loads(text) for text in plan.results]
    assert len({RealConfig(**c | {"prompting": Prompting(*c["prompting"])}).key for c in keys}) == len(keys)
    for way in real_plan.WAYS.values():
        assert way.rates == tuple(sorted(way.rates))


def test_the_quick_command_makes_every_run_and_a_second_one_finds_them(folder, base, tested, tmp_path, capsys):
    command = ["reproduce", "real", "--quick", "--data", str(folder), "--base", str(base), "--out", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    stored = list((tmp_path / "results" / "real").glob("*-*.json"))
    assert "0 runs are in" in said and all(f"\n{path.stem}: " in said for path in stored)
    assert "### Table 3" in said and "CC BY-SA" in (tmp_path / "RESULTS.md").read_text()
    missing = [line for line in said.splitlines() if line.startswith("Not run yet")]
    assert missing == ["Not run yet: r = 4, two seeds."], "there is one seed"
    assert main(command) == 0
    again = capsys.readouterr().out
    assert f"{len(stored)} runs are in" in again and "\nlora-r4" not in again
