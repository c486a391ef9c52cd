"""The exercises' page: verdicts, hints and answers, by the same code as `minilora check`."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from minilora.exercises import spec
from minilora.exercises.checking import NOT_STARTED, PASSED, Verdict, check_source
from minilora.exercises.workbook import untouched


class Checks:
    """Answers for one page."""

    def check(self, name: str, source: str) -> dict[str, Any]:
        """The verdict on a source: its status, what to read, each property and whether it holds."""
        code = source.encode()
        verdict = Verdict(NOT_STARTED) if untouched(name, code) else check_source(name, code)
        return {
            "status": verdict.status,
            "passed": verdict.status == PASSED,
            "report": verdict.report,
            "properties": [[claim, holds] for claim, holds in verdict.properties.items()],
            "seconds": verdict.seconds,
        }

    def hint(self, name: str, number: int) -> str:
        """A hint, 1 to 3."""
        return spec.load(name).hints[number - 1]

    def answer(self, name: str) -> str:
        """The solution's source, which the build puts beside this file."""
        return (Path(__file__).parent / "solutions" / f"{name}.py").read_text("utf-8")

    def archive(self, sources: dict[str, str]) -> bytes:
        """A zip of NAME.py for each source: what `minilora grade` reads, and what `minilora check` can go on with."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(sources):
                archive.writestr(f"{name}.py", sources[name])
        return packed.getvalue()


Page = Checks  # what worker.mjs makes one of
