"""A built site, a server, and one headless Chromium; every test here is skipped, with the reason, where one is missing.

    pip install -e ".[browser]"   and   apt install chromium-headless-shell   (or CHROMIUM=/path/to/one)

A page may talk to this server only: a request to any other place is refused, and fails the test that made it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tutorials.browser import build, fetch, serve

BROWSERS = (
    os.environ.get("CHROMIUM"),
    "/usr/lib/chromium/chromium-headless-shell",
    *map(shutil.which, ("chromium", "google-chrome")),
)
MARK = "MINILORA_BROWSER_TESTS"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SECONDS = 120  # for Python to be ready on a busy machine


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as its README says."""
    out = tmp_path_factory.mktemp("browser") / "under" / "a path"
    try:
        build.build(out)
    except fetch.FetchError as error:
        pytest.skip(f"the site cannot be built here: {error}")
    return out


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: under a path, as a static host would."""
    with serve.server(site) as running:
        running.RequestHandlerClass.keywords["directory"] = str(site.parents[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/under/a path/"
        running.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason='the browser tests need: pip install -e ".[browser]"')
    found = next((path for path in BROWSERS if path and Path(path).exists()), None)
    if found is None:
        pytest.skip("there is no Chromium: apt install chromium-headless-shell, or set CHROMIUM")
    os.environ[MARK] = mark = uuid.uuid4().hex  # every process that is started from here on inherits it
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, env=dict(os.environ))
        assert processes(mark) or sys.platform != "linux"
        yield browser
        browser.close()
    del os.environ[MARK]
    for _ in range(50):
        if not processes(mark):
            return
        time.sleep(0.1)
    raise AssertionError(f"the browser tests have left processes behind: {processes(mark)}")


def processes(mark: str) -> list[str]:
    """The command lines of the processes that live and inherited this mark (on Linux; elsewhere not looked for)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended in the meantime, or is somebody else's
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture(scope="module")
def open_page(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens a page of the site in a profile of its own: open_page("index.html", viewport=...).

    Afterwards, errors in the page and requests to other places fail the module's last test.
    """
    contexts: list[Any] = []
    wrong: list[str] = []

    def opened(path: str, context: Any = None, **options: Any) -> Any:
        if context is None:
            context = chromium.new_context(**options)
            contexts.append(context)
            context.set_default_timeout(20_000)
            context.route(lambda url: not url.startswith(address.partition("/under")[0]), refuse)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{path}: {error}"))
        page.on("console", lambda line: print(line.text) if line.type == "error" else None)
        page.on("response", lambda answer: print(answer.status, answer.url) if answer.status >= 400 else None)
        page.goto(address + path)
        return page

    def refuse(route: Any) -> None:
        wrong.append(f"a request to {route.request.url}")
        route.abort()

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(autouse=True)
def keep_what_failed(request: pytest.FixtureRequest) -> Iterator[None]:
    """A screenshot of every open page of a test that failed, in $MINILORA_SCREENSHOTS."""
    yield
    report, folder = getattr(request.node, "report", None), os.environ.get("MINILORA_SCREENSHOTS")
    if report and report.failed and folder and "chromium" in request.fixturenames:
        for context in request.getfixturevalue("chromium").contexts:
            for i, page in enumerate(context.pages):
                page.screenshot(path=Path(folder) / f"{request.node.name}-{i}.png")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().when == "call":  # type: ignore[attr-defined]
        item.report = outcome.get_result()  # type: ignore[attr-defined]
