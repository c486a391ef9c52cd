"""Bytes are tokens; the corpora come with Python; a window is a piece of the text and the same piece a token later."""

import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import ByteTokenizer, TextData, python_docs, python_source
from minilora.pretrain.corpus import python_docstrings
from minilora.text import read_text, split
from tests.models import seeds

lengths = st.integers(2, 40)
texts = st.text(st.characters(exclude_categories=["Cs"]))  # surrogates are not text: UTF-8 has no bytes for them


# ------------------------------------------------------------------------------------------- tokenizer


@given(texts)
def test_decoding_undoes_encoding(text):
    tokens = ByteTokenizer().encode(text)
    assert tokens.dtype == np.uint8 and len(tokens) == len(text.encode())
    assert ByteTokenizer().decode(tokens) == text


def test_half_a_character_is_a_replacement_character():
    assert ByteTokenizer().decode(ByteTokenizer().encode("aé")[:-1]) == "a\ufffd"


# --------------------------------------------------------------------------------------------- corpora


@pytest.mark.parametrize(("corpus", "mark", "least"), [(python_docs, " the ", 1000), (python_source, "\ndef ", 100)])
def test_the_documentation_is_english_the_source_is_code_and_both_are_always_the_same(corpus, mark, least):
    text = corpus()
    assert len(text) > 100_000 and text == corpus() and text.count(mark) > least


@pytest.mark.parametrize("max_bytes", [50_000, 200_000])
def test_the_source_is_whole_files_up_to_the_given_size(max_bytes):
    source = python_source(max_bytes)
    assert 0 < len(source.encode()) <= 1.01 * max_bytes  # blank lines between the files come on top
    assert python_source().startswith(source)


def test_only_the_docstrings_of_packages_are_taken_and_in_order(monkeypatch, tmp_path):
    for name, text in {
        "module.py": '"""Downstream."""',
        "pkg/b.py": 'class C:\n    """Third."""\n    def f(self):\n        """Fifth."""',
        "pkg/a.py": '"""First."""\nx = "no docstring"\nasync def f():\n    """Second, over\n    two lines."""',
        "pkg/c.py": '"""First."""\ndef g():\n    """No."""',
        "pkg/test/d.py": '"""A test."""',
        "test/e.py": '"""A test."""',
        "site-packages/f.py": '"""Somebody\'s."""',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert python_docstrings(min_length=5) == ["First.", "Second, over\ntwo lines.", "Third.", "Fifth."]


def test_docstrings_are_english_and_each_is_there_once():
    found = python_docstrings()
    assert len(set(found)) == len(found)
    assert sum(map(len, found)) > 300_000 and "\n".join(found).count(" the ") > 1000


def test_a_library_in_a_zip_file_is_read_as_one_in_a_folder_is(monkeypatch, tmp_path):
    """Pyodide runs from such a file, and its folder for the library is empty or missing."""
    source = python_source(300_000)
    with zipfile.ZipFile(tmp_path / "python.zip", "w") as zipped:
        for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"), reverse=True):
            zipped.write(path, path.name)
        zipped.writestr("json/aaa.py", "not a module next to the others")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "missing"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "python.zip")])
    assert python_source(300_000) == source


def test_without_documentation_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(RuntimeError, match="--data FILE"):
        python_docs()


def test_without_sources_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(RuntimeError, match="--data FILE"):
        python_source()
    with pytest.raises(RuntimeError, match="no standard-library packages"):
        python_docstrings()


# ------------------------------------------------------------------------------------ a user's own file


@pytest.mark.parametrize("data", ["Grüße\n".encode(), b"\xef\xbb\xbf" + "Grüße\n".encode()])
def test_a_utf8_file_is_read_with_or_without_a_byte_order_mark(tmp_path, data):
    (tmp_path / "text").write_bytes(data)
    assert read_text(tmp_path / "text") == "Grüße\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b" \n\n", "is empty"), (b"ab\xff", r"not UTF-8 text \(byte 2\)"), (b"a\0b", "is binary")],
)
def test_a_file_that_is_not_text_is_refused(tmp_path, data, message):
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path / "text")


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        read_text(tmp_path / "none")


# ----------------------------------------------------------------------------------------------- split


@given(lengths, st.floats(0, 1))
def test_the_held_out_part_is_the_end(length, held_out):
    tokens = np.arange(length)
    training, validation = split(tokens, held_out)
    np.testing.assert_array_equal(np.concatenate([training, validation]), tokens)
    assert len(validation) == int(length * held_out)


# -------------------------------------------------------------------------------------------- TextData


@given(lengths, st.integers(1, 9), st.integers(1, 5), seeds)
def test_a_sample_is_windows_of_the_text_and_their_next_tokens(length, block_size, batch_size, seed):
    data = TextData(np.arange(length), block_size)  # token i is at position i
    tokens, targets, weights = data.sample(np.random.default_rng(seed), batch_size)
    assert tokens.shape == targets.shape == (batch_size, min(block_size, length - 1)) and weights is None
    np.testing.assert_array_equal(tokens, tokens[:, :1] + np.arange(tokens.shape[1]))
    np.testing.assert_array_equal(targets, tokens + 1)


def test_every_window_of_the_text_is_sampled():
    starts = TextData(np.arange(10), 4).sample(np.random.default_rng(0), 200).tokens[:, 0]
    assert set(starts) == set(range(6))


@given(lengths, st.integers(1, 9), st.integers(1, 5), seeds)
def test_batches_hold_every_next_token_once_and_in_order(length, block_size, batch_size, seed):
    text = np.random.default_rng(seed).integers(256, size=length)
    batches = list(TextData(text, block_size).batches(batch_size))
    counted = [part[b.weights == 1] for b in batches for part in (b.tokens, b.targets)]
    np.testing.assert_array_equal(np.concatenate(counted[0::2]), text[:-1])
    np.testing.assert_array_equal(np.concatenate(counted[1::2]), text[1:])
    assert all(len(b.tokens) <= batch_size and set(b.weights.ravel()) <= {0, 1} for b in batches)


@pytest.mark.parametrize("tokens", [np.zeros(1, int), np.zeros((3, 3), int), np.zeros(5), "text"])
def test_only_a_row_of_tokens_is_a_text(tokens):
    with pytest.raises(ValueError, match=r"give at least 2|encode the text first"):
        TextData(tokens, 4)
