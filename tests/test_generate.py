"""The cache changes no logit, the seed decides every token, and the text ends where the rules say."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora import GPT, LoraConfig, generate, merge
from minilora.generate import Sampling, sample_token, scored
from tests.models import TINY, adapted, gpt, scramble, seeds
from tests.reference import reference_logits

PROMPT = np.array([1, 2])


# ---------------------------------------------------------------------------------------------- the cache


@given(seeds, st.sampled_from(("float32", "float64")), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_cached_logits_are_the_uncached_ones(seed, dtype, chunks):
    """Given a few tokens at a time, the model computes what it computes from all of them, up to rounding."""
    model = gpt(replace(TINY, dtype=dtype, block_size=9), seed)
    tokens = np.random.default_rng(seed).integers(7, size=(2, sum(chunks)))
    expected, past = reference_logits(model, tokens), model.new_past(2)
    ends = np.cumsum(chunks)
    cached = [model.forward(tokens[:, end - n : end], past=past)[0] for n, end in zip(chunks, ends, strict=True)]
    for logits in (model(tokens), np.concatenate(cached, axis=1)):
        assert (np.abs(logits - expected.value) <= 2 * expected.error).all()


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (3, "room for 3 rows, not for 4: ask new_past for more tokens"),
        (5, "6 tokens do not fit: give 1 to 5, the model's max_tokens"),
    ],
)
def test_a_cache_has_the_room_that_was_asked_for_and_refuses_more(room, message):
    model = gpt()
    past = model.new_past(1, room)
    assert past.layers[0].keys.shape[2] == room
    logits, _ = model.forward(np.zeros((1, room), int), past=past)
    np.testing.assert_array_equal(logits, model(np.zeros((1, room), int)))
    with pytest.raises(ValueError, match=message):
        model.forward(np.zeros((1, 1), int), past=past)


LORA = LoraConfig(r=2, lora_alpha=2, target_modules=".*")


@pytest.mark.parametrize("model", [gpt(), adapted(gpt(), LORA), merge(adapted(gpt(), LORA))], ids=range(3))
def test_at_temperature_zero_each_token_is_the_likeliest(model):
    text = generate(model, PROMPT, temperature=0)
    for t in range(len(PROMPT), len(text)):
        assert text[t] == model(text[None, :t])[0, -1].argmax()


# ----------------------------------------------------------------------------------------------- drawing


@given(seeds, st.floats(0.1, 3))
def test_the_seed_decides_every_token(seed, temperature):
    first, again = (generate(gpt(), PROMPT, temperature=temperature, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_different_seed_gives_a_different_text():
    texts = {tuple(generate(gpt(), PROMPT, temperature=5.0, seed=seed)) for seed in range(10)}
    assert len(texts) > 1


def test_a_generator_goes_on_where_it_is():
    rng = np.random.default_rng(3)
    texts = [generate(gpt(), PROMPT, temperature=5.0, seed=rng) for _ in range(10)]
    np.testing.assert_array_equal(texts[0], generate(gpt(), PROMPT, temperature=5.0, seed=3))
    assert any(not np.array_equal(texts[0], text) for text in texts)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3)])
def test_tokens_are_sampled_with_the_softmaxs_probabilities(temperature, top_k):
    """n samples have a token of probability p n p times, give or take sqrt(n p (1 - p)); five of those are allowed."""
    n, logits = 20_000, np.array([2.0, 1.0, 0.0, -1.0, 0.5])
    p = np.exp(logits / temperature)
    if top_k is not None:
        p[np.argsort(logits)[:-top_k]] = 0
    p /= p.sum()
    drawn = sample_token(np.tile(logits, (n, 1)), Sampling(temperature, top_k), np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=5)
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all()


@given(seeds, st.integers(1, 6), st.integers(1, 9))
def test_only_the_top_k_are_sampled(seed, V, top_k):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((50, V))
    drawn = sample_token(logits, Sampling(100.0, top_k), rng)
    above = (logits > logits[np.arange(50), drawn][:, None]).sum(axis=1)
    assert (above < top_k).all()


@given(seeds, st.integers(1, 6), st.floats(0.01, 1), st.none() | st.integers(1, 6))
def test_top_p_is_the_smallest_set_of_that_probability(seed, V, top_p, top_k):
    """By brute force over all sets of tokens that top_k leaves: none that is smaller is as probable as p."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal(V)
    kept = np.sort(logits)[-min(top_k or V, V) :]
    p = np.exp(kept) / np.exp(kept).sum()
    sums = [(size, sum(chosen)) for size in range(1, len(p) + 1) for chosen in combinations(p, size)]
    assume(all(abs(total - top_p) > 1e-9 for _, total in sums[:-1]))  # where rounding would decide
    fewest = min(size for size, total in sums if total > top_p - 1e-9)
    kept = np.flatnonzero(np.isfinite(scored(logits[None], Sampling(1.0, top_k, top_p))[0]))
    assert set(kept) == set(np.argsort(logits)[-fewest:])


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_a_tiny_temperature_takes_the_likeliest(temperature):
    logits = np.array([[-3e38, 3e38, 2.9e38, 0.0], [0.0, 1e-20, 1e-21, -1.0]], np.float32)
    np.testing.assert_array_equal(sample_token(logits, Sampling(temperature), np.random.default_rng(0)), [1, 1])


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_not_finite_are_an_error(number, temperature):
    model = gpt()
    model.ln_f.bias.data[2] = number
    for prompt in (PROMPT, [PROMPT]):
        with pytest.raises(ValueError, match="its weights are damaged, load an earlier version"):
            generate(model, prompt, temperature=temperature)


def test_top_one_is_the_likeliest_at_any_temperature():
    likeliest = generate(gpt(), PROMPT, temperature=0)
    np.testing.assert_array_equal(generate(gpt(), PROMPT, temperature=9.0, top_k=1), likeliest)


# ------------------------------------------------------------------------------------ where a text ends


@given(st.integers(1, 4), st.none() | st.integers(0, 9))
def test_a_text_ends_at_max_new_tokens_or_at_block_size(length, max_new_tokens):
    prompt = np.arange(length)
    text = generate(gpt(), prompt, max_new_tokens)
    assert len(text) == min(TINY.block_size, length + (math.inf if max_new_tokens is None else max_new_tokens))
    np.testing.assert_array_equal(text[:length], prompt)


def favouring(token: int) -> GPT:
    """A model for which this token is always the likeliest."""
    model = gpt()
    model.ln_f.weight.data[:] = 0
    model.ln_f.bias.data[:] = 100 * model.wte.weight.data[token] / np.linalg.norm(model.wte.weight.data[token]) ** 2
    model.wte.weight.data[np.arange(7) != token] *= 0.1
    return model


def test_a_text_ends_with_the_stop_token_but_one_in_the_prompt_does_not_count():
    np.testing.assert_array_equal(generate(favouring(4), PROMPT, temperature=0, stop=4), [1, 2, 4])
    assert len(generate(favouring(4), PROMPT, temperature=0, stop=1)) == TINY.block_size


def test_a_row_that_has_stopped_is_filled_up_until_all_have():
    rows = generate(gpt(), np.tile(PROMPT, (20, 1)), temperature=5.0, stop=3)
    first = [list(row[2:]).index(3) if 3 in row[2:] else 3 for row in rows]
    assert len(set(first)) > 1
    for row, at in zip(rows, first, strict=True):
        assert (row[2 + at :] == 3).all()


# --------------------------------------------------------------------------------------------- in batches


def test_one_sequence_in_one_sequence_out_and_many_for_many():
    assert generate(gpt(), PROMPT, 2).shape == (4,)
    assert generate(gpt(), np.array([[1, 2]]), 2).shape == (1, 4)
    assert [text.shape for text in generate(gpt(), [[1, 2], np.array([3])], 2)] == [(4,), (3,)]
    assert generate(gpt(), ([1, 2],), 2)[0].shape == (4,)
    assert generate(gpt(), np.tile(PROMPT, (3, 1)), 2).shape == (3, 4)


def test_a_sequence_is_continued_as_if_it_were_alone():
    prompts = np.array([[1, 2], [3, 0], [6, 6]])
    together = generate(gpt(), prompts, temperature=0)
    for prompt, text in zip(prompts, together, strict=True):
        np.testing.assert_array_equal(generate(gpt(), prompt, temperature=0), text)


@given(seeds, st.integers(1, 5), st.integers(2, 4), st.sampled_from((0, 0.7)))
def test_workers_share_the_rows_and_write_the_same(seed, B, workers, temperature):
    """In float64, where no rounding decides about a token."""
    model = scramble(gpt(replace(TINY, dtype="float64")), seed)
    rows = np.random.default_rng(seed).integers(7, size=(B, 2))
    for prompts in (rows, [row[: 1 + i % 2] for i, row in enumerate(rows)]):
        texts = [generate(model, prompts, 3, temperature=temperature, seed=seed, workers=n) for n in (1, workers)]
        for one, other in zip(*texts, strict=True):
            np.testing.assert_array_equal(one, other)


@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=5), st.sampled_from((0, 0.7, 5.0)), st.data())
def test_a_list_of_prompts_gives_what_each_prompt_gives(seed, lengths, temperature, data):
    """With several stop tokens, and in float64, where no rounding decides about a token."""
    model = scramble(gpt(replace(TINY, dtype="float64")), seed)
    prompts = [np.random.default_rng(seed + i).integers(7, size=n) for i, n in enumerate(lengths)]
    settings = {
        "max_new_tokens": data.draw(st.none() | st.integers(0, 4)),
        "stop": data.draw(st.none() | st.lists(st.integers(0, 6), max_size=3)),
        "top_k": data.draw(st.none() | st.integers(1, 7)),
        "top_p": data.draw(st.none() | st.floats(0.1, 1)),
        "temperature": temperature,
    }
    together = generate(model, prompts, seed=seed, **settings)
    own = np.random.default_rng(seed).integers(2**63, size=len(prompts))
    assert isinstance(together, list)
    for prompt, text, its_seed in zip(prompts, together, own, strict=True):
        np.testing.assert_array_equal(generate(model, prompt, seed=int(its_seed), **settings), text)


def test_equal_prompts_in_a_list_get_texts_of_their_own():
    assert len({tuple(text) for text in generate(gpt(), [PROMPT] * 10, temperature=5.0)}) > 1


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "give 1 to 4, so that at least one more fits into the model's max_tokens=5"),
        ([0] * 5, {}, "the prompt has 5 tokens"),
        ([9], {}, "vocabulary is 0 to 6"),
        (3, {}, r"shape \(\): give whole numbers of shape \(T,\) or \(B, T\)"),
        (np.zeros((1, 1, 1), int), {}, r"shape \(1, 1, 1\)"),
        ([1.0], {}, "float64: give whole numbers"),
        ([True], {}, "bool: give whole numbers"),
        (["the"], {}, r"tokenizer\.encode\(text\)"),
        ("the", {}, r"tokenizer\.encode\(text\)"),
        ([1, 2**70], {}, "object: give whole numbers"),
        ([[1], [1.5]], {}, "float64: give whole numbers"),
        ([[1], [0] * 5], {}, "the prompt has 5 tokens"),
        ([[1], []], {}, "the prompt has 0 tokens"),
        ([[1], [[1], [2]]], {}, r"shape \(2, 1\): give whole numbers of shape \(T,\)"),
        ([[1], [[1], 2]], {}, "ragged"),
        ([1], {"temperature": -1}, "finite number of at least 0"),
        ([1], {"temperature": math.nan}, "finite number of at least 0"),
        ([1], {"temperature": math.inf}, "finite number of at least 0"),
        ([1], {"temperature": "hot"}, "finite number of at least 0"),
        ([1], {"top_k": 0}, "top_k is 0: give a whole number of at least 1"),
        ([1], {"top_k": 2.0}, "top_k is 2.0: give a whole number"),
        ([1], {"top_p": 0}, "above 0 and up to 1"),
        ([1], {"top_p": 1.1}, "above 0 and up to 1"),
        ([1], {"max_new_tokens": -1}, "max_new_tokens is -1: give a whole number"),
        ([1], {"stop": 7}, "stop is 7: give a whole number, 0 to 6"),
        ([1], {"stop": "."}, "give a whole number"),
        ([1], {"stop": [1.0]}, "give a whole number"),
        ([1], {"seed": None}, "seed is None: give a whole number"),
        ([[1], [2]], {"workers": 0}, "workers is 0: give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_continued_is_refused(prompt, options, message):
    with pytest.raises(ValueError, match=message):
        generate(gpt(), prompt, **options)
