"""Every page of documentation: its Python runs, its commands parse, its links lead somewhere."""

import contextlib
import importlib.util
import io
import re
import shlex
from pathlib import Path

import pytest

from minilora.cli.main import parser

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        ROOT / "README.md",
        *(page for room in ("minilora", "tutorials", "tests") for page in (ROOT / room).rglob("*.md")),
    )
)
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What a page tells its reader to type: lines of shell blocks, indented lines, and `minilora ...` in a sentence."""
    lines = [line for kind, block in FENCED.findall(text) if kind in ("", "sh") for line in block.splitlines()]
    lines += re.findall(r"^    (?=\S)(.*)$", text, re.MULTILINE) + re.findall(r"`((?:minilora|python -m) [^`]+)`", text)
    return [part.strip() for line in lines for part in re.split(r"&&|;", line)]


@pytest.mark.parametrize("page", [page for page in PAGES if EXAMPLE.search(TEXTS[page])])
def test_the_examples_run_and_fail_as_shown(page, tmp_path, monkeypatch):
    """Each Python block runs after those above it; a text block below it is the AssertionError that ends it.

    Lines with numbers are not compared: they are the smallest example, and another hypothesis may find another.
    """
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code, shown in EXAMPLE.findall(TEXTS[page]):
        message = ""
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                exec(code, names)
            except AssertionError as error:
                message = f"AssertionError: {error}\n"
        assert bool(message) == bool(shown), f"{code}\n{message}"
        assert {line for line in shown.splitlines() if not re.search(r"\d", line)} <= set(message.splitlines())


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_and_takes_the_arguments_shown(page):
    for command in commands(TEXTS[page]):
        words = shlex.split(command, comments=True)
        if "minilora" in words[:4]:
            parser().parse_args(words[words.index("minilora") + 1 :])  # SystemExit(2) for an unknown command or option
        elif words[1:3] == ["-m", "pytest"]:
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), command
        elif words[1:2] == ["-m"]:
            assert importlib.util.find_spec(words[2]), command


def anchors(text: str) -> set[str]:
    """What a link into a page may name: its headings as GitHub spells them, and its own `<a id=...>`."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings} | set(
        re.findall(r'<a id="([^"]+)"', text)
    )


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", TEXTS[page]):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), anchor
