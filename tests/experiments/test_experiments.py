"""The reproduction: runs, their plan, their pool, and the report.

Training here takes a step or two; tables, claims and figures are tested on made-up results.
"""

import itertools
import json
import os
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minilora as ml
from minilora import methods
from minilora.cli import main as cli
from minilora.cli.main import main
from minilora.experiments import EXPERIMENTS, write_page
from minilora.experiments.engine import pool, report
from minilora.experiments.engine.experiment import METRICS, Claim, Results, Score, markdown, verdict
from minilora.experiments.engine.plan import (
    FAMILIES,
    QUICK,
    Group,
    Plan,
    Scale,
    Setting,
    beyond,
    chosen_rate,
    lora,
    reference,
)
from minilora.experiments.engine.run import RunConfig, Store, run, run_and_keep
from minilora.experiments.real.page import section
from minilora.experiments.tables import lr_transfer, skill

ROOT = Path(__file__).parents[2]
TINY = RunConfig("nli", "lora", lr=1e-2, options=lora(2), steps=2, batch_size=2, train=12, valid=2, test=2)


# ------------------------------------------------------------------------------------------------ one run


@pytest.fixture(scope="module")
def tiny():
    return run(TINY)


def numbers(result):
    return {name: result[name] for name in ("losses", "valid_loss", "test_loss", "test", "trainable")}


def test_equal_configs_give_equal_numbers_and_another_seed_gives_others(tiny):
    assert numbers(run(TINY)) == numbers(tiny)
    other = run(replace(TINY, seed=1))
    assert other["losses"] != tiny["losses"] and other["trainable"] == tiny["trainable"]


def test_a_result_holds_the_config_and_the_numbers(tiny):
    assert tiny["config"] == asdict(TINY)
    assert tiny["trainable"] == methods.count("lora", ml.load_base()[0].config, **TINY.options) == 4 * 2 * 2 * 2 * 128
    assert len(tiny["losses"]) == 2 and 0 <= tiny["test"]["accuracy"] <= 1
    assert {path.rpartition(".")[2] for path in tiny["lora"]} == {"q_proj", "v_proj"}


def test_zero_steps_give_the_base_and_a_subspace_run_trains_m_numbers(tiny):
    base = run(replace(TINY, method="full", options={}, steps=0))
    assert base["losses"] == [] and base["valid_loss"] != tiny["valid_loss"]
    assert base["valid_loss"] == run(replace(TINY, steps=0))["valid_loss"], "B = 0"
    inside = run(replace(TINY, method="subspace", options={"m": 7}))
    full = run(replace(TINY, method="full", options={}))
    assert inside["trainable"] == 7 and inside["losses"][0] == full["losses"][0]


def test_without_answers_there_are_only_losses(tiny):
    result = run(replace(TINY, answers=False))
    assert result["test"] == {} and result["test_loss"] == tiny["test_loss"]


def test_a_run_that_diverges_has_the_error_and_no_scores():
    with np.errstate(all="ignore"):
        result = run(replace(TINY, method="full", options={}, lr=1e30, steps=4))
    assert "step" in result["diverged"] and result["valid_loss"] is None and result["test"] == {}


def test_a_config_s_key_depends_on_every_field_and_nothing_else():
    changes = {"task": "sql", "method": "full", "lr": 2e-2, "options": lora(3), "seed": 1, "steps": 3, "batch_size": 3}
    changes |= {"train": 13, "valid": 3, "test": 3, "answers": False}
    assert changes.keys() == asdict(TINY).keys()
    keys = {TINY.key} | {replace(TINY, **{name: value}).key for name, value in changes.items()}
    assert len(keys) == 1 + len(changes)
    assert RunConfig(**json.loads(TINY.text)).key == TINY.key


def test_a_store_returns_what_was_put_and_nothing_half_written(tiny, tmp_path):
    store = Store(tmp_path)
    assert store.get(TINY) is None
    matrices = tiny["lora"]
    store.put(TINY, tiny | {"made_by": {}})
    assert numbers(store.get(TINY)) == numbers(tiny)
    for path, (A, B) in store.lora(TINY).items():
        assert np.array_equal(A, matrices[path][0]) and np.array_equal(B, matrices[path][1])
    file = tmp_path / f"{TINY.key}.json"
    file.write_text(file.read_text()[:-40])
    assert store.get(TINY) is None, "a truncated file is not a result"
    assert store.get(replace(TINY, seed=1)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"a": 1}', "\xff", '{"config": {}}'])
def test_foreign_and_half_written_files_count_as_not_there(text, tmp_path, capsys):
    """A run that is found so is made again; an experiment is reported as not run, by the page and by a lesson."""
    file = tmp_path / f"{TINY.key}.json"
    file.write_bytes(text.encode("latin-1"))
    assert Store(tmp_path).get(TINY) is None
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table5.json").write_bytes(text.encode("latin-1"))
    assert "Nothing has been run yet" in report.page(EXPERIMENTS.values(), tmp_path)
    assert report.tell(EXPERIMENTS["table5"], tmp_path) is None
    assert main(["reproduce", "counts", "--quick", "--out", str(tmp_path)]) == 0


def test_a_half_written_result_and_lost_matrices_name_the_cure(tiny, tmp_path):
    store = Store(tmp_path)
    store.put(TINY, dict(tiny))
    assert store.get(TINY) is None, "without made_by it is not whole"
    (tmp_path / f"{TINY.key}.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=f"delete {TINY.key}.json beside it and run the same command again"):
        store.lora(TINY)


# ----------------------------------------------------------------------------------------------- the plan


def made_up(config: RunConfig, valid_loss: float | None = None) -> dict:
    """A result as `run` would return it, with random numbers seeded by the config."""
    rng = np.random.default_rng(zlib.crc32(config.text.encode()))
    trained = config.options.get("m") if config.method == "subspace" else None
    shape = ml.GPTConfig(block_size=320)
    return {
        "config": json.loads(config.text),
        "trainable": trained or methods.count(config.method, shape, **config.options),
        "total": shape.parameter_count,
        "losses": (rng.random(config.steps) + 0.1).tolist(),
        "valid_loss": rng.random() if valid_loss is None else valid_loss,
        "test_loss": rng.random(),
        "test": {name: rng.random() for name in METRICS},
        "seconds": 1.0,
        "made_by": {"commit": "none"},
    }


def finish(plan: Plan) -> list[RunConfig]:
    """Give every run of a plan a made-up result; returns the runs in order."""
    done = []
    while config := plan.take():
        plan.results[config.text] = made_up(config)
        done.append(config)
    assert not plan.jobs
    return done


def test_a_search_comes_first_and_its_best_rate_serves_every_size_and_seed():
    scale = Scale()
    other_rank = Setting("nli", "lora", lora(64))
    plan = Plan([other_rank, reference("nli", "lora"), other_rank], scale)
    rates = FAMILIES["lora"].rates
    assert len(plan.jobs) == len(rates) + 3 + 2, "three seeds of the rank, two more of the reference; each once"
    for lr, loss in zip(rates, (0.5, 0.3, 0.4), strict=True):
        assert plan.rate(Group("nli", "lora")) is None
        config = plan.take()
        assert (config.lr, config.seed, config.options) == (lr, 0, FAMILIES["lora"].options)
        plan.results[config.text] = made_up(config, loss)
    rest = finish(plan)
    assert {config.lr for config in rest} == {rates[1]}
    assert [(c.options["r"], c.seed) for c in rest] == [(64, 0), (64, 1), (64, 2), (4, 1), (4, 2)]


def test_a_search_continues_while_its_best_rate_is_at_an_end():
    assert beyond({0.003: 3.0, 0.01: 2.0, 0.03: 1.0}) == 0.1
    assert beyond({0.003: 1.0, 0.01: 2.0, 0.03: None}) == 0.001
    assert beyond({0.003: 2.0, 0.01: 1.0, 0.03: 3.0}) is None
    plan = Plan([reference("sql", "lora", 100)], Scale(seeds=2))
    for loss in (3.0, 2.0, 1.0, 0.5):
        assert plan.rate(Group("sql", "lora", 100)) is None
        config = plan.take()
        assert config.train == 100
        plan.results[config.text] = made_up(config, loss)
    further = plan.take()
    assert further.lr == 0.3 and plan.take() is None, "seed 1 waits for the rate"
    plan.results[further.text] = made_up(further, 0.7)
    last = plan.take()
    assert (last.lr, last.seed) == (0.1, 1) and plan.take() is None


def test_a_search_ends():
    plan = Plan([reference("sql", "lora")], Scale(seeds=1))
    tried = []
    while config := plan.take():
        tried.append(config.lr)
        plan.results[config.text] = made_up(config, 1 / len(tried))
    assert tried == [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


def test_a_run_that_waits_for_a_search_does_not_hold_up_the_next():
    plan = Plan([reference("nli", "lora"), Setting("nli", "full", lr=0.1, seeds=1)], Scale())
    taken = [plan.take() for _ in range(len(FAMILIES["lora"].rates) + 1)]
    assert [c.method for c in taken] == ["lora"] * len(FAMILIES["lora"].rates) + ["full"]
    assert plan.take() is None and len(plan.jobs) == 2


def test_the_lowest_validation_loss_wins_and_a_diverged_run_never_does():
    assert chosen_rate({0.1: 2.0, 0.2: 1.0, 0.3: None}) == 0.2
    assert chosen_rate({0.2: None, 0.1: None}) == 0.1


def test_every_family_has_rates_and_a_reference_that_fits_the_base():
    config = ml.load_base()[0].config
    for method, options, rates in FAMILIES.values():
        assert list(rates) == sorted(set(rates))
        if method != "subspace":
            assert methods.count(method, config, **options) > 0


def test_what_is_on_disk_is_not_run_again(tmp_path):
    store, scale = Store(tmp_path), replace(QUICK, searched=True)
    plan = Plan([reference("nli", "lora"), Setting("nli", "lora", lora(1))], scale)
    searched = finish(Plan([reference("nli", "lora")], scale))
    assert len(searched) >= len(FAMILIES["lora"].rates)
    for config in searched:
        store.put(config, made_up(config) | {"lora": {}})
    assert plan.take_known(store) == len(searched)
    (left,) = finish(plan)
    assert left.options["r"] == 1


# ----------------------------------------------------------------------------------------------- the pool


SCRIPT = """
import sys
from pathlib import Path
from tests.experiments.test_experiments import tiny_runs
if __name__ == "__main__":
    tiny_runs(Path(sys.argv[1]))
"""


TINY_SCALE = Scale(seeds=1, steps=2, batch_size=2, train=12, valid=2, test=2)


def tiny_runs(folder: Path) -> dict[str, dict]:
    """Tiny runs in two processes: two ranks, and a search of three rates or more."""
    plan = Plan([reference("nli", "lora"), *(Setting("nli", "lora", lora(r)) for r in (1, 2))], TINY_SCALE)
    pool.execute(plan, Store(folder), processes=2, progress=False, finished=lambda: None)
    return plan.results


def test_after_a_kill_the_runs_continue_and_end_with_the_same_numbers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "runs"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, folder]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list(folder.glob("*.json")):
        assert process.poll() is None and time.sleep(0.05) is None
    process.kill()
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    results = tiny_runs(folder)
    searched = Plan([], TINY_SCALE)
    searched.results = results
    wanted = len(searched.search(Group("nli", "lora"))) + 2
    assert wanted >= 5 and 1 <= len(first) < len(results) == wanted
    assert all(path.stat().st_mtime_ns == made for path, made in first.items()), "finished runs are not made again"
    fresh = [run(RunConfig(**result["config"])) for result in results.values() if result["config"]["seed"] == 0][:2]
    for again in fresh:
        config = RunConfig(**again["config"])
        assert numbers(again) == numbers(results[config.text])


def test_mpi_makes_the_same_runs_and_its_absence_names_the_cure(tmp_path, monkeypatch, capsys):
    """A stand-in for mpi4py's executor, which has the interface of the standard library's."""
    plan = Plan([Setting("nli", "lora", lora(r), lr=1e-2) for r in (1, 2)], TINY_SCALE)
    monkeypatch.setitem(sys.modules, "mpi4py.futures", SimpleNamespace(MPIPoolExecutor=ThreadPoolExecutor))
    pool.execute(plan, Store(tmp_path), None, progress=False, finished=lambda: None)
    for text, result in plan.results.items():
        assert numbers(result) == numbers(run(RunConfig(**json.loads(text))))
    assert len(plan.results) == 2
    monkeypatch.setitem(sys.modules, "mpi4py.futures", None)
    assert main(["reproduce", "table5", "--quick", "--mpi", "--out", str(tmp_path)]) == 2
    assert "install minilora[mpi]" in capsys.readouterr().err


def test_a_result_records_its_provenance(tmp_path):
    result = run_and_keep(TINY, tmp_path)
    assert result["made_by"]["numpy"] == np.__version__ and result["made_by"]["minilora"] == ml.__version__
    assert "lora" not in result and run_and_keep(TINY, tmp_path) == json.loads(json.dumps(result))


# ------------------------------------------------------------------------------------- scores and verdicts


def test_scores_are_means_and_sample_deviations_over_seeds():
    scale = Scale(seeds=3)
    setting = Setting("nli", "lora", lora(1), lr=0.1)
    plan = Plan([setting], scale)
    for seed, accuracy in enumerate((0.5, 0.6, 0.8)):
        config = setting.config(scale, 0.1, seed)
        plan.results[config.text] = made_up(config) | {"test": {"accuracy": accuracy}}
    results = Results(plan)
    score = results.score(setting)
    assert score.n == 3 and score.mean == pytest.approx(1.9 / 3) and score.std == pytest.approx(0.1527525, rel=1e-6)
    assert results.cell(setting) == "63.3 ± 15.3"
    assert results.complete([setting]) and not results.complete([setting, reference("nli", "full")])
    assert results.cell(reference("nli", "full")) == "–"


def test_a_diverged_setting_is_shown_as_diverged():
    setting = Setting("nli", "lora", lora(1), lr=0.1)
    plan = Plan([setting], Scale(seeds=1))
    config = plan.take()
    plan.results[config.text] = made_up(config) | {"valid_loss": None, "test_loss": None, "test": {}}
    assert Results(plan).cell(setting) == "diverged"


def test_comparisons_know_whether_higher_is_better():
    low, high = Score(0.50, 0.03, 3), Score(0.52, 0.01, 3)
    assert high.gain(low, "accuracy") == pytest.approx(2) and high.gain(low, "loss") == pytest.approx(-0.02)
    pooled = (0.03**2 / 2 + 0.01**2 / 2) ** 0.5  # 0.0224
    assert pooled > 0.02 and low.not_worse(high, "accuracy") and high.not_worse(low, "loss")
    assert not Score(0.49, 0.03, 3).not_worse(high, "accuracy")
    assert high.show("accuracy") == "52.0 ± 1.0" and Score(1.23456, 0, 1).show("loss") == "1.235"


def test_a_verdict_counts_claims():
    yes, no = Claim("a", True), Claim("b", False)
    assert [verdict(c) for c in ([yes, yes], [yes, no], [no])] == ["agrees", "agrees in part", "does not agree"]


def test_regret_is_the_cost_of_the_middle_rank_s_rate_at_other_ranks():
    curves = {1: {0.1: 3.0, 0.2: 2.0}, 8: {0.1: 1.0, 0.2: 1.5}, 64: {0.1: 1.25, 0.2: 1.0}}
    assert lr_transfer.regret(curves) == 1.0


def test_a_table_is_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


# -------------------------------------------------------------------------------------------- the reports


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Every experiment reported on made-up results, with two seeds."""
    out = tmp_path_factory.mktemp("out")
    store, scale = Store(out / "runs"), Scale(seeds=2, steps=8, train=50, valid=8, test=8, repeats=1)
    plan = Plan([s for e in EXPERIMENTS.values() for s in e.settings(scale)], scale)
    rng = np.random.default_rng(0)
    for config in finish(plan):
        matrices = {}
        if config.method == "lora" and config.task == "sql":  # the matrices that experiments analyse
            r = config.options["r"]
            for i, target in itertools.product(range(4), ("q_proj", "v_proj")):
                pair = rng.standard_normal((r, 128)), rng.standard_normal((128, r))
                matrices[f"blocks.{i}.attn.{target}"] = pair
        store.put(config, plan.results[config.text] | {"lora": matrices})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            skill, "one_run", lambda *run: {name: rng.random() for name in ("valid", "test", "size")} | {"lr": run[3]}
        )
        for experiment in EXPERIMENTS.values():
            report.save(experiment, Results(plan), store, out, "a command")
    return out, plan


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_reports_from_its_file_alone(reported, name):
    out, plan = reported
    experiment = EXPERIMENTS[name]
    loaded = report.load(experiment, out)
    assert loaded is not None
    results, head = loaded
    assert results.complete(experiment.settings(plan.scale))
    claims = experiment.claims(results)
    assert head["verdict"] == verdict(claims) and head["command"] == "a command"
    table = experiment.table(results)
    assert "nan" not in table and "diverged" not in table and table.count("|") > 8
    if experiment.figure:
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_tell_prints_a_result_or_how_to_get_it(reported, tmp_path, capsys):
    out, _ = reported
    results = report.tell(EXPERIMENTS["table6"], out)
    said = capsys.readouterr().out
    assert results is not None and EXPERIMENTS["table6"].table(results) in said
    assert report.tell(EXPERIMENTS["table6"], tmp_path) is None
    assert f"minilora reproduce table6 --out {tmp_path.name}" in capsys.readouterr().out


def test_the_page_has_every_verdict_and_every_rate_tried(reported):
    out, _ = reported
    write_page(out)
    page = (out / report.PAGE).read_text(encoding="utf-8")
    for experiment in EXPERIMENTS.values():
        assert f'<a id="{experiment.name}"></a>{experiment.title}' in page and f"(#{experiment.name})" in page
    assert "not run" not in page
    for lr in FAMILIES["lora"].rates:
        assert f"{lr:g}: " in page
    path = out / "results" / "table5.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"runs": said["runs"][:-1]}))
    assert "| not run |" in report.page(EXPERIMENTS.values(), out), "a file by an earlier version, which lacks a run"
    assert report.tell(EXPERIMENTS["table5"], out) is None
    path.unlink()
    assert f"| {EXPERIMENTS['table5'].title} | not run |" in report.page(EXPERIMENTS.values(), out)


def test_the_committed_page_is_made_from_the_committed_results():
    committed = (ROOT / "tutorials" / report.PAGE).read_text(encoding="utf-8")
    cure = "run: from minilora.experiments import *; write_page(Path('tutorials'))"
    assert committed == report.page(EXPERIMENTS.values(), ROOT / "tutorials", section(ROOT / "tutorials")), cure


def test_every_no_of_the_committed_page_has_its_reason():
    for experiment in EXPERIMENTS.values():
        if loaded := report.load(experiment, ROOT / "tutorials"):
            for claim in experiment.claims(loaded[0]):
                assert claim.holds or len(claim.why) > 20, claim.text


def test_a_quick_page_warns_that_its_numbers_mean_nothing(tmp_path):
    plan = Plan(EXPERIMENTS["table5"].settings(QUICK), QUICK)
    finish(plan)
    report.save(EXPERIMENTS["table5"], Results(plan), Store(tmp_path / "runs"), tmp_path, "quick")
    assert "ignore its numbers" in report.page(EXPERIMENTS.values(), tmp_path)


def test_the_counts_equal_the_paper_s_where_they_can():
    table = EXPERIMENTS["counts"].table(Results(Plan([], QUICK)))
    assert "| GPT-3 | LoRA | r = 8 | 37,748,736 | 37.7M | table 4 | yes |" in table
    assert "| GPT-3 | LoRA | r = 1 | 4,718,592 | 4.7M | table 4 | yes |" in table
    assert "| GPT-2 M | LoRA | r = 4 | 393,216 | 0.35M | table 3 | no |" in table
    assert "36 MiB; the paper: roughly 35 MB" in table


# --------------------------------------------------------------------------------------------- the command


def test_the_command_lists_experiments_and_refuses_unknown_ones(capsys, tmp_path):
    assert cli.main(["reproduce"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in EXPERIMENTS)
    assert cli.main(["reproduce", "table99", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "table99" in error and "table6" in error


def test_the_command_writes_a_page(capsys, tmp_path):
    assert cli.main(["reproduce", "counts", "--quick", "--out", str(tmp_path)]) == 0
    assert "agrees in part" in capsys.readouterr().out
    saved = json.loads((tmp_path / "results" / "counts.json").read_text())
    assert saved["command"] == "minilora reproduce counts --quick"
    assert (tmp_path / report.PAGE).exists()
