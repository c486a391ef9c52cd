"""What `import minilora` loads, and what it offers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import minilora

LOADED = "import sys; {}; print(__import__('json').dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter after this statement."""
    done = subprocess.run([sys.executable, "-c", LOADED.format(statement)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_minilora_loads_nothing_but_numpy_and_the_standard_library():
    """What a fresh interpreter or NumPy loads by itself does not count."""
    new = loaded_by("import minilora") - loaded_by("import numpy")
    assert new - set(sys.stdlib_module_names) == {"minilora"}


def test_every_name_offered_is_there():
    assert all(hasattr(minilora, name) for name in minilora.__all__)
    assert sorted(minilora.__all__, key=str.lower) == sorted(set(minilora.__all__), key=str.lower)


def test_the_contract_of_the_layers_names_the_whole_book_and_every_room():
    """A module or room added at the root is bound by the book's contract in pyproject.toml."""
    package = Path(minilora.__file__).parent
    book = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} - {"machine"}
    settings = (package.parent / "pyproject.toml").read_text(encoding="utf-8")
    (contract,) = (part for part in settings.split("[[tool.importlinter.contracts]]") if 'name = "The book' in part)
    sources, forbidden = re.findall(r"_modules = \[(.*?)\]", contract, re.DOTALL)
    assert set(re.findall(r"minilora\.(\w+)", sources)) == book
    assert set(re.findall(r"minilora\.(\w+)", forbidden)) == rooms
