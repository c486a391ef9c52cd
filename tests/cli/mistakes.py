"""A mistake on the command line gets one line that names it, exit code 2, and leaves every file as it was."""

from __future__ import annotations

from pathlib import Path

from minilora.cli.main import main


def assert_refused(arguments: list[str], named: str, folder: Path, capsys) -> None:
    """What `minilora ARGUMENTS` says contains `named`; no file in the folder has changed."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    try:
        code = main(arguments)
    except SystemExit as exit:  # argparse exits by itself
        code = exit.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("minilora") and err.count("\n") == 1 and named in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
