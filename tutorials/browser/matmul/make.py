"""Makes ../course/matmul.wasm from matmul.ts.  It needs npm; the same bytes come out every time.

python tutorials/browser/matmul/make.py
"""

import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ["-O3", "--enable", "simd", "--importMemory", "--runtime", "stub", "--noAssert", "--use", "abort="]
# A section that asks the loader for no memory of its own: with it, Pyodide takes the module for a shared library.
DYLINK = b"\x00\x0f\x08dylink.0\x01\x04\x00\x00\x00\x00"

with tempfile.TemporaryDirectory() as folder:
    made = Path(folder) / "matmul.wasm"
    asc = ["npx", "--yes", "--package", "assemblyscript@0.28.20", "asc"]
    subprocess.run([*asc, HERE / "matmul.ts", "-o", made, *FLAGS], check=True, cwd=folder)
    code = made.read_bytes()
(HERE.parent / "course" / "matmul.wasm").write_bytes(code[:8] + DYLINK + code[8:])
