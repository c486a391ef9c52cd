"""Metrics against values computed by hand or published, against other packages, and against their own laws."""

import math
from fractions import Fraction
from importlib.util import find_spec
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.tasks import metrics

words = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8)
cases = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=1, max_size=4)
some_case = st.integers(0, 3)

# ------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Punter is cheap.", "the punter is cheap ."),
        ("It's £20.50, (or 1,000)!", "it's £20.50 , ( or 1,000 ) !"),
        ("5-star, kid-friendly", "5 - star , kid-friendly"),
        ("e.g. a/b at 3 p.m.", "e . g . a / b at 3 p . m ."),
        ("", ""),
    ],
)
def test_words_are_cut_as_mteval_cuts_them(text, expected):
    assert metrics.tokenize(text) == expected.split()


@given(words, st.integers(1, 4))
def test_there_is_one_ngram_per_position(text, n):
    assert metrics.ngrams(text, n).total() == max(0, len(text) - n + 1)


def test_a_count_is_clipped_to_the_reference_that_has_most():
    assert metrics.most_in_any([["a", "a", "b"], ["a", "b", "b"]], 1) == {("a",): 2, ("b",): 2}


# -------------------------------------------------------------------------------------------------- BLEU

# Papineni et al. 2002, section 2.1.1: example 2, "the the the the the the the" has a clipped unigram precision of 2/7,
# and example 1 has 17/18 and 8/14 unigrams, 10/17 and 1/13 bigrams.
THE = ["the cat is on the mat", "there is a cat on the mat"]
PARTY = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]
GUIDE = "It is a guide to action which ensures that the military always obeys the commands of the party"
INSURE = "It is to insure the troops forever hearing the activity guidebook that party direct"


@pytest.mark.parametrize(
    ("candidate", "references", "n", "expected"),
    [
        ("the the the the the the the", THE, 1, Fraction(2, 7)),
        (GUIDE, PARTY, 1, Fraction(17, 18)),
        (INSURE, PARTY, 1, Fraction(8, 14)),
        (GUIDE, PARTY, 2, Fraction(10, 17)),
        (INSURE, PARTY, 2, Fraction(1, 13)),
    ],
)
def test_clipped_precisions_of_the_paper(candidate, references, n, expected):
    counts = metrics.ngrams(candidate.split(), n)
    matches = (counts & metrics.most_in_any([text.split() for text in references], n)).total()
    assert Fraction(matches, counts.total()) == expected


def test_bleu_is_the_geometric_mean_of_the_paper_s_precisions():
    """18 words, and a reference of 18: no penalty. 17/18 and 10/17 as above; 7/16 and 4/15 counted by hand."""
    expected = (Fraction(17, 18) * Fraction(10, 17) * Fraction(7, 16) * Fraction(4, 15)) ** 0.25
    assert metrics.bleu([GUIDE.split()], [[text.split() for text in PARTY]]) == pytest.approx(expected)


def test_a_short_answer_is_penalized():
    """5 of 6 words: every precision is 1 and exp(1 - 6/5) is left."""
    reference = ["a", "b", "c", "d", "e", "f"]
    assert metrics.bleu([reference[:5]], [[reference]]) == pytest.approx(math.exp(1 - 6 / 5))
    closer = [reference, ["a", "b", "c", "d"]]  # 5 is as close to 4 as to 6: the shorter counts
    assert metrics.bleu([reference[:5]], [closer]) == 1


def test_bleu_sums_counts_over_the_corpus_before_it_divides():
    """Unigrams (2 + 1) of (2 + 2), not the mean of 1 and 1/2; lengths 4 and 4."""
    assert metrics.bleu([["a", "b"], ["c", "x"]], [[["a", "b"]], [["c", "d"]]], max_n=1) == pytest.approx(3 / 4)


# -------------------------------------------------------------------------------------------------- NIST


def test_nist_by_hand():
    """References "a b" and "a c": counts a 2, b 1, c 1 of 4 words, each bigram 1.

    info(a) = log2(4/2) = 1, info(b) = 2, info(a b) = log2(2/1) = 1.
    The answer "a b": unigrams (1 + 2) / 2, bigrams 1/1.
    """
    references = [[["a", "b"], ["a", "c"]]]
    assert metrics.nist([["a", "b"]], references, max_n=2) == pytest.approx(2.5)
    assert metrics.nist([["a"]], references, max_n=1) == pytest.approx(
        1 * math.exp(-math.log(2) / math.log(1.5) ** 2 * math.log(0.5) ** 2)
    )


def test_two_thirds_of_the_length_halves_nist():
    """Counts a 1, b 1, c 1 of 3: both words have log2(3) bits."""
    assert metrics.nist([["a", "b"]], [[["a", "b", "c"]]], max_n=1) == pytest.approx(math.log2(3) / 2)


# ------------------------------------------------------------------------------------------------- ROUGE


def test_rouge_of_lin_s_examples():
    """Lin 2004, section 3.1: against "police killed the gunman", two answers have the same bigrams in common but
    subsequences of 3 and of 2 words."""
    reference = ["police", "killed", "the", "gunman"]
    kill, gunman = ["police", "kill", "the", "gunman"], ["the", "gunman", "kill", "police"]
    assert metrics.rouge_n(kill, reference, 2) == metrics.rouge_n(gunman, reference, 2) == pytest.approx(1 / 3)
    assert metrics.rouge_l(kill, [reference]) == pytest.approx(3 / 4)
    assert metrics.rouge_l(gunman, [reference]) == pytest.approx(2 / 4)


def test_beta_weighs_recall():
    """P = 1, R = 1/2, beta = 1.2: 2.44 * 0.5 / (0.5 + 1.44)."""
    assert metrics.rouge_l(["a"], [["a", "b"]], beta=1.2) == pytest.approx(2.44 * 0.5 / 1.94)


def test_precision_and_recall_may_come_from_different_references():
    """ "a b": P = 2/2 from "a b c d", R = 1/1 from "a"."""
    assert metrics.rouge_l(["a", "b"], [["a", "b", "c", "d"], ["a"]], beta=1.2) == 1


@given(words, words)
def test_the_longest_common_subsequence_is_the_longest_of_all(a, b):
    def subsequences(text):
        return {tuple(text[i] for i in at) for n in range(len(text) + 1) for at in combinations(range(len(text)), n)}

    assert metrics.longest_common_subsequence(a, b) == max(map(len, subsequences(a) & subsequences(b)))


# ------------------------------------------------------------------------------------------------- CIDEr


def test_cider_by_hand():
    """Two cases, "a b" and "a c". a is in both: weight log 1 = 0. b, c and each bigram are in one: log 2.

    "a b" for the first: unigrams and bigrams point the reference's way, cosine 1 each. "a b" for the second: b weighs
    log 2, yet the reference lacks it, cosine 0. The mean over n = 1, 2 and the two cases is 1/2, times 10.
    """
    references = [[["a", "b"]], [["a", "c"]]]
    assert metrics.cider([["a", "b"], ["a", "b"]], references, max_n=2) == pytest.approx(5)
    assert metrics.cider([["a", "b"], ["a", "c"]], references, max_n=2) == pytest.approx(10)


def test_cider_clips_repetition_and_punishes_length():
    """ "b b" for "b" (in one of two cases): min(2, 1) * 1 / (2 * 1) = 1/2, one word too long: exp(-1 / 72)."""
    assert metrics.cider([["b", "b"], ["c"]], [[["b"]], [["c"]]], max_n=1) == pytest.approx(
        10 * (math.exp(-1 / 72) / 2 + 1) / 2
    )


def test_cider_averages_over_references():
    assert metrics.cider([["b"], ["c"]], [[["b"], ["d"]], [["c"], ["e"]]], max_n=1) == pytest.approx(5)


# --------------------------------------------------------------------------------------------- their laws


@given(cases)
def test_bounds(pairs):
    candidates, references = zip(*pairs, strict=True)
    assert 0 <= metrics.bleu(candidates, references) <= 1 + 1e-12
    assert metrics.nist(candidates, references) >= 0
    assert 0 <= metrics.cider(candidates, references) <= 10 + 1e-12
    for candidate, refs in pairs:
        assert 0 <= metrics.rouge_l(candidate, refs, beta=1.2) <= 1 + 1e-12
        assert 0 <= metrics.rouge_n(candidate, refs[0], 2) <= 1 + 1e-12


@given(st.lists(words.filter(lambda text: len(text) >= 4), min_size=1, max_size=4))
def test_the_reference_itself_scores_best(texts):
    references = [[text] for text in texts]
    assert metrics.bleu(texts, references) == pytest.approx(1)
    assert all(metrics.rouge_l(text, [text], beta=1.2) == metrics.rouge_n(text, text, 1) == 1 for text in texts)
    assert metrics.cider(texts, references) <= 10 + 1e-12


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_references_and_of_cases_does_not_matter(pairs, random):
    shuffled = [(candidate, random.sample(refs, len(refs))) for candidate, refs in pairs]
    random.shuffle(shuffled)
    for metric in (metrics.bleu, metrics.nist, metrics.cider):
        assert metric(*zip(*shuffled, strict=True)) == pytest.approx(metric(*zip(*pairs, strict=True)), abs=1e-12)


@given(cases, words)
def test_another_reference_never_removes_a_match(pairs, more):
    for candidate, refs in pairs:
        assert metrics.rouge_l(candidate, [*refs, more]) >= metrics.rouge_l(candidate, refs)
        for n in (1, 2):
            assert metrics.most_in_any(refs, n) <= metrics.most_in_any([*refs, more], n)


@given(words, words)
def test_rouge_is_symmetric(a, b):
    assert metrics.rouge_n(a, b, 1) == metrics.rouge_n(b, a, 1)
    assert metrics.rouge_l(a, [b]) == pytest.approx(metrics.rouge_l(b, [a]))


def test_empty_answers_score_zero():
    references = [[["a", "b"]], [["c"]]]
    for metric in (metrics.bleu, metrics.nist, metrics.cider):
        assert metric([[], []], references) == 0
    assert metrics.rouge_l([], [["a"]]) == metrics.rouge_n([], ["a"], 1) == metrics.rouge_l(["a"], [[]]) == 0


# --------------------------------------------------------------------------- other packages, where installed


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


@needs("sacrebleu")
@given(cases)
def test_bleu_equals_sacrebleu_s(pairs):
    """Corpus BLEU, unsmoothed; sacrebleu needs the same number of references for every answer."""
    import sacrebleu

    candidates, references = zip(*[(c, (refs * 3)[:3]) for c, refs in pairs], strict=True)
    streams = [[" ".join(refs[i]) for refs in references] for i in range(3)]
    theirs = sacrebleu.corpus_bleu([" ".join(c) for c in candidates], streams, smooth_method="none", tokenize="none")
    assert 100 * metrics.bleu(candidates, references) == pytest.approx(theirs.score, abs=1e-9)


@needs("sacrebleu")
@given(st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=30))
def test_tokens_equal_sacrebleu_s(text):
    """Except for SGML escapes, which `tokenize` leaves alone."""
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    if "&" not in text:
        assert metrics.tokenize(text) == Tokenizer13a()(text.lower()).split()


@needs("nltk")
@given(st.lists(st.tuples(words, words), min_size=1, max_size=4).filter(lambda p: max(len(c) for c, _ in p) >= 5))
def test_nist_equals_nltk_s_for_one_reference(pairs):
    """With several, nltk uses the best reference; mteval and we use all of them together."""
    from nltk.translate.nist_score import corpus_nist

    candidates, references = [c for c, _ in pairs], [[ref] for _, ref in pairs]
    assert metrics.nist(candidates, references) == pytest.approx(corpus_nist(references, candidates, 5))


@needs("rouge_score")
@given(words, words)
def test_rouge_equals_rouge_score_s(a, b):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(" ".join(b), " ".join(a))
    ours = (metrics.rouge_n(a, b, 1), metrics.rouge_n(a, b, 2), metrics.rouge_l(a, [b]))
    assert ours == pytest.approx([theirs[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")])
