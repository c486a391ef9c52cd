"""Features 21 and 24: keyboard only, a narrow window, accessible names and contrasts; and offline."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import SECONDS
from tutorials.browser import fetch

PAGES = [
    "index.html",
    "playground.html?nopredict&rows=1&targets=q_proj",
    "exercises.html",
    "lessons.html",
    "licences.html",
]


@pytest.fixture(scope="module")
def context(open_page: Any) -> Any:
    return open_page("lessons.html", viewport={"width": 360, "height": 740}).context


@pytest.fixture(scope="module")
def page(open_page: Any, context: Any) -> Any:
    """A page of the site, opened once for all tests that use it."""
    pages: dict[str, Any] = {}

    def opened(path: str) -> Any:
        if path not in pages:
            pages[path] = ready(open_page(path, context=context))
        pages[path].bring_to_front()
        return pages[path]

    return opened


def ready(page: Any) -> Any:
    page.wait_for_selector('body[data-state="ready"]', timeout=1000 * SECONDS)
    return page


@pytest.mark.parametrize("path", PAGES)
def test_21_a_narrow_window_needs_no_sideways_scrolling_and_axe_finds_nothing_serious(page, path):
    page = page(path)
    page.add_script_tag(content=fetch.members("axe-core", "package/")["axe.min.js"].decode())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate("async () => (await axe.run()).violations")
        serious = [
            f"{v['id']}: {n['html'][:200]} {n['failureSummary']}"
            for v in found
            if v["impact"] in ("serious", "critical")
            for n in v["nodes"]
        ]
        assert serious == []
    widest = page.evaluate(
        """[document.documentElement.scrollWidth, ...[...document.querySelectorAll("main *")]
            .filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 90))]"""
    )
    assert widest[0] <= 360, widest


def test_21_the_exercises_by_keyboard_alone(page):
    page = page("exercises.html")
    page.evaluate("location.hash = 'ex11_lora_forward'")
    page.wait_for_selector("#lessons a[aria-current][href='#ex11_lora_forward']", state="attached")

    def tab_to(selector: str) -> None:
        for _ in range(80):
            if page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} cannot be reached by Tab")

    tab_to(".CodeMirror textarea")
    page.keyboard.press("Control+a")
    page.keyboard.type("def lora_forward(x, W0, A, B, alpha):\nreturn x @ W0.T + alpha / len(A) * (x @ A.T @ B.T)")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#verdict .passed")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "check", "Esc leaves the editor, where Tab indents"
    tab_to("#hint")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hints h2")


def test_21_the_playground_by_keyboard_alone(page):
    page = page(PAGES[1])
    page.focus(".home")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "run":
            break
    page.keyboard.press("Enter")
    page.wait_for_function("Number(document.getElementById('count').textContent) >= 3")
    page.keyboard.press("Enter")
    ready(page)
    assert page.evaluate("document.activeElement.id") == "run"


def test_24_after_the_first_visit_it_works_offline(page, context):
    page = page(PAGES[1])
    page.evaluate("navigator.serviceWorker.ready.then(() => new Promise((go) => setTimeout(go, 100)))")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    context.set_offline(True)
    try:
        page.reload()
        ready(page)
        for n in range(1, 6):
            page.click("#step")
            page.wait_for_function("(n) => document.body.dataset.painted == n", arg=n)
        page.goto(page.url.partition("playground")[0] + "exercises.html")
        ready(page)
    finally:
        context.set_offline(False)
