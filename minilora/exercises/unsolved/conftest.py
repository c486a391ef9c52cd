"""Plain `pytest` in this folder checks the exercises.  You need not read or change this file."""

import pytest

from minilora.exercises import spec
from minilora.exercises.checking import NOT_STARTED, PASSED
from minilora.exercises.workbook import Workbook

collect_ignore = ["solutions"]


def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".py" and file_path.stem in spec.names():
        return ExerciseFile.from_parent(parent, path=file_path)
    return None


class ExerciseFile(pytest.File):
    def collect(self):
        yield Exercise.from_parent(self, name=spec.load(self.path.stem).title)


class NotPassed(Exception):
    pass


class Exercise(pytest.Item):
    def runtest(self):
        verdict = Workbook(self.path.parent).verdict(self.path.stem, again=True)
        if verdict.status == NOT_STARTED:
            pytest.skip("not started")
        if verdict.status != PASSED:
            raise NotPassed(verdict.report)

    def repr_failure(self, excinfo):
        if excinfo.errisinstance(NotPassed):
            return f"{excinfo.value}\n  stuck?     minilora hint {spec.number(self.path.stem)}"
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}: {self.name}"


def pytest_terminal_summary(terminalreporter):
    passed, failed, skipped = (len(terminalreporter.getreports(kind)) for kind in ("passed", "failed", "skipped"))
    terminalreporter.write_line(f"{passed} of {passed + failed + skipped} solved; what comes next: minilora exercises")
