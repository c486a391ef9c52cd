"""Made-up records: reproducible, short, unlike any task, and mostly predictable from the context."""

import re

import numpy as np
import pytest

from minilora.pretrain.records import FIELDS, KINDS, Document, Generator, copied, documents

WORDS = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture(scope="module")
def found():
    return documents(Generator(0, WORDS).document, 200_000)


def test_equal_seeds_make_equal_documents_and_another_seed_others(found):
    assert found[:50] == documents(Generator(0, WORDS).document, 200_000)[:50]
    assert found[:50] != documents(Generator(1, WORDS).document, 200_000)[:50]


def test_they_are_ascii_and_mostly_fit_into_a_window(found):
    lengths = [len(document.text) for document in found]
    assert all(document.text.isascii() for document in found)
    assert np.mean(np.array(lengths) + 2 <= 320) > 0.95
    assert 200_000 <= sum(lengths) + 2 * len(found) <= 200_000 + max(lengths) + 2


def test_copied_marks_every_occurrence_of_a_value_except_the_first():
    document = Document("ab: cd\ncd, xcd, ab.", ("ab", "cd"))
    marked = "".join(c if m else "_" for c, m in zip(document.text, copied(document), strict=True))
    assert marked == "_______cd_______ab_"


def test_every_copied_byte_repeats_an_earlier_value(found):
    """Each marked byte lies in a value that occurs earlier in the text."""
    for text, values in found[:300]:
        places = {v: [i for i in range(len(text)) if text.startswith(v, i)] for v in values}
        for i in np.flatnonzero(copied(Document(text, values))):
            assert any(p <= i < p + len(v) for v, where in places.items() for p in where[1:])


def test_a_tenth_of_every_kind_of_document_is_copied():
    generator = Generator(0, WORDS)
    for writer in set(generator.writers):
        share = np.mean([copied(writer()).mean() for _ in range(200)])
        assert share > 0.1, writer.__name__


def test_they_contain_nothing_of_a_downstream_task(found):
    text = "\n".join(document.text for document in found)
    for pattern in (
        r"(?i)restaurant|\bfood\b|coffee|\bpub\b|riverside|priceRange|familyFriendly|customer rating",
        r"\w\[[^'\]]",  # slot[value]
        r"\bSELECT\b|\bWHERE\b|\bFROM\b",
        r"(?i)premise|hypothesis|entail|contradict|summary|\bclass\b|\bdef\b",
    ):
        assert not re.search(pattern, text), pattern
    assert all(kind in text for kind in KINDS) and all(field in text for field in FIELDS)
