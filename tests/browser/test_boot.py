"""The package in a real browser: it boots, trains as it does here, saves and resumes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import minilora as ml
from tutorials.browser.course.lab import Lab

STEPS = 20


@pytest.fixture(scope="module", params=[True, False], ids=["simd", "plain"])
def python(request: pytest.FixtureRequest, open_page: Any) -> Any:
    """Calls a function of the lab in the page's worker."""
    page = open_page("index.html")
    ready = page.evaluate(
        """async (simd) => {
            const { Python } = await import("./python.mjs");
            window.lab = new Python({ module: "lab", packages: ["python-texts"], simd });
            return window.lab.ready;
        }""",
        request.param,
    )
    assert ready["simd"] == request.param, "the fast products are on exactly where they are asked for"

    def call(name: str, *args: Any) -> Any:
        if name == "keep":
            return page.evaluate("async () => { window.kept = await window.lab.call('save'); }")
        if name == "go_back":
            return page.evaluate("(settings) => window.lab.call('load', settings, window.kept)", args[0])
        return page.evaluate("([name, args]) => window.lab.call(name, ...args)", [name, list(args)])

    return call


def losses(call: Any, settings: dict[str, Any]) -> list[float]:
    call("reset", settings)
    return [call("step")["loss"] for _ in range(STEPS)]


@pytest.mark.parametrize("task", ["upper", "source"])
def test_twenty_steps_of_lora_have_the_losses_that_they_have_here(python, task):
    """Up to rounding: a run in float64 shows how far float32 moves the run here, and the browser's products, which
    add the same terms in another order, may move it about as far again."""
    settings, here, exact = {"task": task, "targets": ["q_proj", "v_proj"]}, Lab(), Lab()
    exact.base = ml.GPT(ml.GPTConfig(**{**vars(here.base.config), "dtype": "float64"}))
    exact.base.load_state_dict(here.base.state_dict())
    wide, narrow = (np.array(losses(partial(call_of, lab), settings)) for lab in (exact, here))
    rounding = max(np.abs(narrow - wide).max(), np.finfo(np.float32).eps * wide.max())
    assert np.abs(np.array(losses(python, settings)) - narrow).max() <= 4 * rounding
    assert narrow[-1] < narrow[0] - 100 * rounding, "these steps learn something"
    assert python("frozen_hash") == here.frozen_hash(), "feature 3: every bit that is frozen is the base's"


def test_a_run_that_is_saved_and_loaded_goes_on_with_the_same_bits(python):
    losses(python, {"task": "upper", "rows": 1})
    python("keep")
    ahead = [python("step")["loss"] for _ in range(3)]
    python("reset", {"seed": 1})
    assert python("go_back", {"task": "upper", "rows": 1})["step"] == STEPS
    assert [python("step")["loss"] for _ in range(3)] == ahead


def call_of(lab: Lab, name: str, *args: Any) -> Any:
    return getattr(lab, name)(*args)
