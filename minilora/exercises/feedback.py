"""What a student gets back: a page, in Markdown and in HTML, or Gradescope's results.json.

A page shows the points, and for each exercise that is not solved the properties that hold and those that do not, the
smallest input that breaks one, and the likely slip. Students choose much of this text, so none of it is markup.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path

from minilora.exercises import spec
from minilora.exercises.checking import PASSED
from minilora.exercises.grading import Result, replace_file
from minilora.exercises.handins import PAGES
from minilora.exercises.marks import Marks
from minilora.exercises.sandbox import one_line, printable

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
.total { font-size: 1.15rem; color: #57606a } table { border-collapse: collapse; margin-top: 1.2rem }
td, th { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #d8dee4 }
td.number { text-align: right } .passed { color: #116329 } .failed, .error { color: #a40e26 }
pre { background: #f6f8fa; border-left: 3px solid #d0d7de; padding: .7rem 1rem; overflow-x: auto; font-size: .85rem }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3 } pre { background: #161b22; border-color: #30363d }
  td, th { border-color: #30363d } .total { color: #8b949e }
  .passed { color: #56d364 } .failed, .error { color: #ff7b72 }
}
"""


def write_pages(marks: Sequence[Marks], folder: Path) -> None:
    """NAME.md and NAME.html for each student, in a folder."""
    (folder / PAGES).touch()
    taken: set[str] = set()
    for each in marks:
        stem = base = re.sub(r"\W+", "-", each.student).strip("-")[:60] or "student"
        count = 1
        while stem.casefold() in taken:
            count += 1
            stem = f"{base}-{count}"
        taken.add(stem.casefold())
        replace_file(folder / f"{stem}.md", markdown(each).encode("utf-8", "replace"))
        replace_file(folder / f"{stem}.html", page(each).encode("utf-8", "replace"))


def markdown(marks: Marks) -> str:
    """A student's page in Markdown."""
    lines = [f"# {_escaped(one_line(marks.student, 100))}", "", f"**{_total(marks)}**", ""]
    lines += ["| exercise | | points |", "|---|---|---:|"]
    lines += [f"| {_title(r)} | {_escaped(_state(r))} | {_points(marks, r)} |" for r in marks.results]
    for result in _unsolved(marks):
        text = _lines(result)
        fence = "`" * (max(map(len, re.findall("`+", text)), default=2) + 1)
        fence = fence if len(fence) > 2 else "```"
        lines += ["", f"## {_title(result)}: {_escaped(result.outcome.status)}", ""]
        lines += [f"- {'holds' if holds else 'does not hold'}: {_escaped(name)}" for name, holds in _properties(result)]
        lines += ["", f"{fence}text", text, fence] if text else []
    if marks.unread:
        lines += ["", "## Files that were not read", "", *(f"- {_escaped(one_line(line))}" for line in marks.unread)]
    return "\n".join(lines) + "\n"


def page(marks: Marks) -> str:
    """A student's page in HTML, whole, in one file."""
    name = html.escape(one_line(marks.student, 100))
    rows = [
        f'<tr><td>{html.escape(_title(r))}</td><td class="{r.outcome.status.split()[0]}">{html.escape(_state(r))}</td>'
        f'<td class="number">{_points(marks, r)}</td></tr>'
        for r in marks.results
    ]
    parts = []
    for result in _unsolved(marks):
        parts.append(f"<h2>{html.escape(_title(result))}: {html.escape(result.outcome.status)}</h2>")
        parts += [
            f'<div class="{"passed" if holds else "failed"}">{"✓" if holds else "✗"} {html.escape(claim)}</div>'
            for claim, holds in _properties(result)
        ]
        parts.append(f"<pre>{html.escape(_lines(result))}</pre>")
    if marks.unread:
        parts.append("<h2>Files that were not read</h2>")
        parts += [f"<div>{html.escape(one_line(line))}</div>" for line in marks.unread]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title><style>{STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p class="total">{_total(marks)}</p>
<table><tr><th>exercise</th><th></th><th>points</th></tr>
{chr(10).join(rows)}
</table>
{chr(10).join(parts)}
</body>
</html>
"""


def gradescope(marks: Marks) -> str:
    """Gradescope's results.json for one student."""
    tests = [
        {
            "name": _title(result),
            "score": round(marks.points(result), 4),
            "max_score": marks.weights[result.exercise],
            "status": "passed" if result.outcome.status == PASSED else "failed",
            "output": "\n".join(filter(None, (_state(result), _lines(result)))),
            "output_format": "text",
        }
        for result in marks.results
    ]
    notes = "\n".join(f"not read: {one_line(line)}" for line in marks.unread)
    return json.dumps(
        {"score": round(marks.total, 4), "output": notes, "stdout_visibility": "hidden", "tests": tests}, indent=1
    )


# -------------------------------------------------------------------------------------------------- their parts


def _total(marks: Marks) -> str:
    return f"{marks.total:.2f} of {marks.possible:g} points, {marks.passed} of {len(marks.results)} exercises passed"


def _title(result: Result) -> str:
    return f"{spec.number(result.exercise)} {spec.load(result.exercise).title}"


def _state(result: Result) -> str:
    """The status, why a file was not graded, and the hints."""
    outcome = result.outcome
    detail = f": {one_line(outcome.detail)}" if outcome.detail and not outcome.report else ""
    hints = f" (with hint {result.hints})" if result.hints and outcome.status == PASSED else ""
    return f"{outcome.status}{detail}{hints}"


def _points(marks: Marks, result: Result) -> str:
    return f"{marks.points(result):.2f} of {marks.weights[result.exercise]:g}"


def _unsolved(marks: Marks) -> list[Result]:
    """The results about which there is something to read."""
    return [result for result in marks.results if result.outcome.report]


def _properties(result: Result) -> list[tuple[str, bool]]:
    return [(one_line(name), holds) for name, holds in result.outcome.properties.items()]


def _lines(result: Result) -> str:
    """The report, safe to print line by line."""
    return "\n".join(printable(line).rstrip() for line in result.outcome.report.splitlines())


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|~&$])", r"\\\1", text)
