"""What an exercise is: how its inputs are drawn, the right answer, and the slips people make.

An axis has a name ("n" and "d" in Floats("n d")), so that sizes fit, and a failing case can lose index i of an axis
in every array that has it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from minilora.exercises.findings import Finding, compare, map_values, rounding, sizes_of, wide
from minilora.exercises.worker import laid_out


@dataclass(frozen=True)
class Floats:
    """An array of numbers in [-2, 2] times `unit`, and in some cases times 10^e, e being one of `decades`.

    `axes` names its axes, as in "n d". An axis with a question mark, as in "n? d", is missing in some cases.
    """

    axes: str
    unit: float = 1.0
    decades: tuple[int, ...] = (-4, 4)


@dataclass(frozen=True)
class Indices:
    """An array of whole numbers from 0 up to, not including, the size of the axis `of`."""

    axes: str
    of: str


@dataclass(frozen=True)
class OneOf:
    """One of some values, the simplest first: numbers, names, or whatever else the exercise is about."""

    values: Sequence[Any]


Input = Floats | Indices | OneOf


@dataclass(frozen=True, eq=False)
class Case:
    """One drawn example: the size of each axis, a value for each input, and the layout of its arrays in memory.

    In a backward case, several functions are called in reversed order: none may need another to be called first.
    The values are in C order; `case["x"]` is laid out, in C or Fortran order or (S) as a view of a larger array.
    """

    sizes: Mapping[str, int]
    dtype: type[np.floating]
    values: Mapping[str, Any]
    layout: str = "C"
    backward: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.laid_out(self.values[name])

    def laid_out(self, value: Any) -> Any:
        return map_values(lambda part: laid_out(part, self.layout) if isinstance(part, np.ndarray) else part, value)

    def rounding(self, magnitude: Any) -> Any:
        """How far rounding may move a right result whose terms add up to `magnitude`."""
        return rounding(self.dtype, sum(self.sizes.values()), magnitude)


class Call(Protocol):
    """Calls one of the student's functions by name."""

    def __call__(self, function: str, /, **arguments: Any) -> Any: ...


Judge = Callable[[Case, Call], Iterator[Finding]]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise.

    functions   name -> the right answer: what the student must write
    inputs      name -> how it is drawn
    arguments   case -> the functions' arguments by name; by default the inputs. Each function takes those it names
    outputs     for each result, its name and what it should be: "dW = dy^T x"; with several functions, by function
    sizes       axis -> (smallest, largest) size; 1 to 4 by default
    longest     the size of an axis in a few cases
    magnitude   arguments in float64 -> a bound on the sum of the absolute values of all terms that a result adds up,
                one for all outputs or one for each; with several functions, by function. By default the right answer
                for the absolute values of the arguments, which is that bound for sums of products (Higham 2002,
                section 3.1)
    cases       how many cases are drawn, if not as many as for most exercises
    judge       replaces the comparison with the right answer: (case, call) -> findings
    slips       what is wrong -> the edit of the right answer that makes it wrong, "old code -> new code", or several
    """

    title: str
    lesson: int
    minutes: int
    functions: Mapping[str, Callable]
    inputs: Mapping[str, Input]
    hints: tuple[str, str, str]
    slips: Mapping[str, str | tuple[str, ...]]
    outputs: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    arguments: Callable[[Case], dict[str, Any]] | None = None
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    magnitude: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None
    longest: int = 130
    cases: int | None = None
    judge: Judge | None = None

    def judges(self, case: Case) -> Iterator[Judge]:
        """The exercise's own judge, or the comparison of each function with the right one."""
        if self.judge is not None:
            yield self.judge
            return
        for name in list(self.functions)[:: -1 if case.backward else 1]:
            yield lambda case, call, name=name: self._compared(name, case, call)  # type: ignore[misc]

    def _compared(self, name: str, case: Case, call: Call) -> Iterator[Finding]:
        """Is every output of a function the right one, up to rounding?"""
        right, named = self.functions[name], self.named_arguments(case)
        arguments = {parameter: named[parameter] for parameter in _parameters(right)}
        outputs = self.outputs[name] if isinstance(self.outputs, Mapping) else self.outputs
        magnitude = self.magnitude.get(name) if isinstance(self.magnitude, Mapping) else self.magnitude
        sizes = magnitude(**wide(arguments)) if magnitude else right(**sizes_of(wide(arguments)))
        got = call(name, **arguments)
        yield from compare(outputs, right(**wide(arguments)), got, case.rounding(sizes))

    def named_arguments(self, case: Case) -> dict[str, Any]:
        return case.laid_out(dict(case.values) if self.arguments is None else self.arguments(case))

    def hands_on(self, case: Case) -> bool:
        """Does a function take what another one returned?"""
        given = self.named_arguments(case)
        return len(self.functions) > 1 and any(set(_parameters(f)) - set(given) for f in self.functions.values())

    @property
    def module(self) -> ModuleType:
        """The module that holds the right answer."""
        return sys.modules[next(iter(self.functions.values())).__module__]

    def slip_source(self, slip: str) -> str:
        """The source of the right answer with this slip made in it.  ValueError if there is nothing to edit."""
        source = inspect.getsource(self.module).partition("\nEXERCISE = ")[0]
        edits = self.slips[slip]
        for edit in (edits,) if isinstance(edits, str) else edits:
            old, _, new = edit.partition(" -> ")
            if old not in source:
                raise ValueError(f"{self.module.__name__} does not contain {old!r}")
            source = source.replace(old, new)
        return source

    def with_slip(self, slip: str) -> dict[str, Callable]:
        """The functions with this slip made in their source."""
        names: dict[str, Any] = {"__name__": f"{self.module.__name__} with a slip"}
        exec(compile(self.slip_source(slip), names["__name__"], "exec"), names)
        return {name: names[name] for name in self.functions}


@cache
def _parameters(function: Callable) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


# ------------------------------------------------------------------------------------------------ the catalogue


def names() -> list[str]:
    """The exercises in order, as `ex01_linear_backward`."""
    return list(_names(*_catalogue().__path__))


@cache
def _names(*folders: str) -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folders)))


def _catalogue() -> ModuleType:
    """The package that holds the exercises.  It is found by name, because its modules import this one."""
    return importlib.import_module("minilora.exercises.catalogue")


@cache
def load(name: str) -> Exercise:
    """The exercise of this name."""
    exercise: Exercise = importlib.import_module(f"minilora.exercises.catalogue.{name}").EXERCISE
    return exercise


def unsolved(name: str) -> Path:
    """The file that students start from."""
    return Path(_catalogue().__path__[0]).parent / "unsolved" / f"{name}.py"


def use(folder: Path) -> None:
    """From now on, the exercises of this process are a teacher's: a folder's catalogue/NAME.py and unsolved/NAME.py.

    ValueError if there are none, or one is not in order.
    """
    modules = [module.name for module in pkgutil.iter_modules([str(folder / "catalogue")])]
    if not modules:
        raise ValueError(f"{folder} has no exercises: put ex01_NAME.py into {folder / 'catalogue'}")
    for name in modules:
        if not re.fullmatch(r"ex\d\d_\w+", name) or not (folder / "unsolved" / f"{name}.py").is_file():
            raise ValueError(f"{folder}: {name} needs a name like ex01_softmax, and a file in {folder / 'unsolved'}")
    _catalogue().__path__[:] = [str(folder / "catalogue")]


def number(name: str) -> str:
    """ "08" of "ex08_adam"."""
    return name[2:4]


def find(text: str) -> str:
    """The exercise that a user means by 8, 08, ex08, adam or a file's name.  ValueError if there is none."""
    wanted = text.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    digits = wanted.removeprefix("ex")
    for name in names():
        if wanted in (name, name[5:]) or (digits.isdecimal() and int(digits) == int(number(name))):
            return name
    raise ValueError(f"there is no exercise {text!r}: `minilora exercises` lists 1 to {len(names())}")
