"""What `import minilora` loads, and what it offers."""

import json
import subprocess
import sys

import minilora

LOADED = "import sys; {}; print(__import__('json').dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter after this statement."""
    done = subprocess.run([sys.executable, "-c", LOADED.format(statement)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_minilora_loads_nothing_but_numpy_and_the_standard_library():
    """Whatever else a fresh interpreter or NumPy itself brings along is theirs."""
    new = loaded_by("import minilora") - loaded_by("import numpy")
    assert new - set(sys.stdlib_module_names) == {"minilora"}


def test_every_name_offered_is_there():
    assert all(hasattr(minilora, name) for name in minilora.__all__)
    assert sorted(minilora.__all__, key=str.lower) == sorted(set(minilora.__all__), key=str.lower)
