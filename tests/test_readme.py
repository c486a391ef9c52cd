"""The README's examples run, and print what it says."""

import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_examples_run_and_fail_as_shown(tmp_path, monkeypatch):
    """Each python block runs after those before it; a text block behind it is the AssertionError that ends it.

    Lines with numbers are not compared: they are the smallest example, and another hypothesis may find another.
    """
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", README, re.MULTILINE | re.DOTALL)
    names: dict = {}
    failures = 0
    for code, shown in examples:
        message = ""
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                exec(code, names)
            except AssertionError as error:
                message = f"AssertionError: {error}\n"
                failures += 1
        assert bool(message) == bool(shown), code
        assert {line for line in shown.splitlines() if not re.search(r"\d", line)} <= set(message.splitlines())
    assert (len(examples), failures) == (5, 1)


def test_every_file_it_links_to_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
