"""N-grams beside plain transcriptions of their equations, by hand, and on PTB; their pruning."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.ngram import BackoffLevel, BackoffNgrams, KneserNey, pruned
from recurra.ngram.arrays import LAST_KEY

EOS = 0
OPENING = "<s>"  # the reference tells the start of a sentence from its end


class Reference:
    """The same model word by word: sentences, tuples and dictionaries."""

    def __init__(self, ids, order, vocabulary_size):
        self.order, self.vocabulary_size = order, vocabulary_size
        occurrences = [Counter() for _ in range(order + 1)]
        for sentence in sentences(ids):
            words = (OPENING, *sentence)
            for end in range(1, len(words)):
                for n in range(1, min(order, end + 1) + 1):
                    occurrences[n][words[end + 1 - n : end + 1]] += 1
        self.counts = [self.adjusted(n, occurrences) for n in range(1, order + 1)]
        self.discounts = [self.estimated(counts.values()) for counts in self.counts]

    def adjusted(self, n, occurrences):
        if n == self.order:
            return occurrences[n]
        preceding = Counter(longer[1:] for longer in occurrences[n + 1])
        opening = {gram: c for gram, c in occurrences[n].items() if gram[0] == OPENING}
        return preceding + Counter(opening)

    @staticmethod
    def estimated(counts):
        n = Counter(counts)
        if all(n[c] for c in (1, 2, 3, 4)):
            y = n[1] / (n[1] + 2 * n[2])
            found = [c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3)]
            if min(found) > 0:
                return found
        return [0.5, 1.0, 1.5]

    def probability(self, word, context):
        n = len(context) + 1
        counts, discounts = self.counts[n - 1], self.discounts[n - 1]
        shorter = self.probability(word, context[1:]) if context else 1 / self.vocabulary_size
        following = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == context}
        if not following:
            return shorter
        taken = {w: discounts[min(c, 3) - 1] for w, c in following.items()}
        total = sum(following.values())
        kept = (following[word] - taken[word]) / total if word in following else 0
        return kept + sum(taken.values()) / total * shorter

    def log_probs_of(self, ids):
        probabilities = []
        for sentence in sentences(ids):
            words = (OPENING, *sentence)
            for end in range(1, len(words)):
                context = words[max(end + 1 - self.order, 0) : end]
                probabilities.append(self.probability(words[end], context))
        return np.log(probabilities)


def sentences(ids):
    sentence = []
    for word in ids:
        sentence.append(int(word))
        if word == EOS:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def zipf_text(length, vocabulary_size, seed):
    """Return words of falling frequency, each drawn near the last, so that n-grams recur."""
    random = np.random.default_rng(seed)
    words = np.minimum(random.zipf(1.5, length), vocabulary_size) - 1
    copied = random.random(length) < 0.5
    for i in range(7, length):
        if copied[i]:
            words[i] = words[i - 7]
    return words


@pytest.fixture(scope="module", params=[1, 2, 3, 4, 5])
def pair(request):
    """One text, one order: the model and its reference."""
    ids = zipf_text(1500, 40, seed=1)
    return KneserNey.fit(ids, request.param, 45, EOS), Reference(ids, request.param, 45)


def test_unigram_by_hand():
    # Counts: <eos> 1, a 2, b 1, of 4; discounts 1/2 and 1 leave 2/4 to four words alike.
    model = KneserNey.fit([1, 1, 2, EOS], order=1, vocabulary_size=4, eos=EOS)
    np.testing.assert_allclose(np.exp(model.distribution([])), [0.25, 0.375, 0.25, 0.125])
    np.testing.assert_allclose(np.exp(model.log_probs_of([1, EOS])), [0.375, 0.25])


def test_bigram_by_hand():
    # "a b <eos> a <eos>": words seen before a 1, b 1, <eos> 2, so 7/24, 7/24, 10/24 alone.
    model = KneserNey.fit([1, 2, EOS, 1, EOS], order=2, vocabulary_size=3, eos=EOS)
    np.testing.assert_allclose(model.unigrams, np.array([10, 7, 7]) / 24)
    # Each context gives half of itself to those: a start is 2 a, less 1; a is 2; b is 1.
    given_start, given_a, given_b = np.array([[10, 31, 7], [22, 7, 19], [34, 7, 7]]) / 48
    np.testing.assert_allclose(np.exp(model.distribution([])), given_start)
    np.testing.assert_allclose(np.exp(model.distribution([1])), given_a)
    np.testing.assert_allclose(np.exp(model.distribution([2])), given_b)


def test_equals_the_reference(pair):
    model, reference = pair
    text = np.concatenate((zipf_text(150, 45, seed=2), zipf_text(1500, 40, seed=1)[:150]))
    np.testing.assert_allclose(model.log_probs_of(text), reference.log_probs_of(text), rtol=1e-12)


def test_reference_text_uses_both_kinds_of_discounts():
    reference = Reference(zipf_text(1500, 40, seed=1), 5, 45)
    fallback = [discounts == [0.5, 1.0, 1.5] for discounts in reference.discounts]
    assert any(fallback)
    assert not all(fallback)


@pytest.mark.parametrize("times", [(1, 1, 2, 1), (1, 1, 5, 1), (3, 0, 1, 1), (5, 3, 2, 0)])
def test_odd_counts_of_counts_fall_back(times):
    """Discounts that would be zero, negative or undefined: half a count instead."""
    counts = np.repeat([1, 2, 3, 4], times)
    ids = np.repeat(np.arange(len(counts)), counts)
    model = KneserNey.fit(ids, 1, len(counts) + 1, EOS)
    total = counts.sum()
    unseen = np.minimum(counts / 2, 1.5).sum() / total / (len(counts) + 1)
    expected = (counts - np.minimum(counts / 2, 1.5)) / total + unseen
    np.testing.assert_allclose(np.exp(model.distribution([])), [*expected, unseen])


words = st.integers(0, 4)


@settings(max_examples=100, deadline=None)
@given(st.lists(words, min_size=1, max_size=40), st.lists(words, max_size=12), st.integers(1, 5))
def test_any_text_equals_the_reference_and_sums_to_one(train, text, order):
    model, reference = KneserNey.fit(train, order, 6, EOS), Reference(train, order, 6)
    log_probs = model.log_probs_of(text)
    np.testing.assert_allclose(log_probs, reference.log_probs_of(text), rtol=1e-9, atol=1e-12)
    for i in range(len(text) + 1):
        distribution = model.distribution(text[:i])
        assert np.exp(distribution).sum() == pytest.approx(1, abs=1e-12)
        assert np.isfinite(distribution).all()
        if i < len(text):
            assert distribution[text[i]] == log_probs[i]


def test_every_word_follows_every_history(pair):
    model, _ = pair
    random = np.random.default_rng(3)
    for history in random.integers(0, 45, (50, 6)):
        distribution = model.distribution(history)
        assert np.isfinite(distribution).all()
        assert np.exp(distribution).sum() == pytest.approx(1, abs=1e-12)


def test_history_starts_anew_after_eos(pair):
    model, _ = pair
    opening = model.distribution([])
    for history in ([EOS], [3, 1, EOS], [EOS, EOS]):
        np.testing.assert_array_equal(model.distribution(history), opening)
    text = zipf_text(100, 40, seed=4)
    after = model.log_probs_of([*text, EOS, *text])[len(text) + 1 :]
    np.testing.assert_array_equal(after, model.log_probs_of(text))


def test_only_the_last_words_of_a_history_count(pair):
    model, _ = pair
    history = zipf_text(1500, 40, seed=1)[:60]
    context = history[len(history) - model.order + 1 :]
    np.testing.assert_array_equal(model.distribution(history), model.distribution(context))


def test_a_corpus_of_one_token():
    model = KneserNey.fit([1], order=5, vocabulary_size=3, eos=EOS)
    assert model.order == 5
    assert np.exp(model.distribution([])).sum() == pytest.approx(1, abs=1e-12)
    assert model.distribution([]).argmax() == 1
    assert model.log_probs_of([]).shape == (0,)


def test_keys_of_a_large_vocabulary_do_not_overflow():
    size = 1_000_000
    ids = size - 1 - zipf_text(20_000, 5_000, seed=5)
    ids[ids == size - 1] = EOS
    model = KneserNey.fit(ids.astype(np.int32), 5, size, EOS)
    assert all((np.diff(level.keys) > 0).all() for level in model.levels)
    assert model.levels[-1].keys[-2] > 2**32
    text = ids[:40]
    reference = Reference(ids, 5, size)
    np.testing.assert_allclose(model.log_probs_of(text), reference.log_probs_of(text), rtol=1e-12)
    assert np.exp(model.distribution(text)).sum() == pytest.approx(1, abs=1e-12)


def test_saved_and_loaded_is_the_same_model(pair):
    model, _ = pair
    loaded = KneserNey.from_tensors(safetensors.numpy.load(safetensors.numpy.save(model.tensors())))
    assert (loaded.order, loaded.vocabulary_size, loaded.eos) == (model.order, 45, EOS)
    text = zipf_text(200, 45, seed=6)
    np.testing.assert_array_equal(loaded.log_probs_of(text), model.log_probs_of(text))
    np.testing.assert_array_equal(loaded.distribution(text), model.distribution(text))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("2.keys", None, r"missing: \['2\.keys'\], unexpected: \[\]"),
        ("unigrams", None, r"missing: \['unigrams'\], unexpected: \[\]"),
        ("weight", np.zeros(3), r"missing: \[\], unexpected: \['weight'\]"),
        ("unigrams", np.zeros(5), r"2\.backoffs is float64 \(4,\), expected float64 \(6,\)"),
        ("unigrams", np.zeros((3, 1)), r"unigrams is float64 \(3, 1\), expected float64 \(3,\)"),
        ("3.probabilities", np.zeros(1), r"3\.probabilities is float64 \(1,\)"),
        ("3.keys", np.zeros(4, np.int32), r"3\.keys is int32"),
        ("2.keys", np.zeros(0, np.int64), r"2\.keys are not in order"),
        ("2.keys", np.arange(4)[::-1], r"2\.keys are not in order"),
        ("eos", np.array([7]), "eos is 7 in a vocabulary of 3"),
        ("eos", np.zeros(0, np.int64), r"eos is int64 \(0,\), expected int64 \(1,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, array, message):
    tensors = KneserNey.fit([1, 2, EOS], 3, 3, EOS).tensors()
    if array is None:
        del tensors[name]
    else:
        tensors[name] = array
    with pytest.raises(CheckpointError, match=message):
        KneserNey.from_tensors(tensors)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(DataError, match="no tokens"):
        KneserNey.fit([], 2, 3, EOS)
    with pytest.raises(DataError, match="from 0 to 3; the model's vocabulary has 0 to 2"):
        KneserNey.fit([1, 3], 2, 3, EOS)
    with pytest.raises(ConfigError, match="is 0; it starts at 1"):
        KneserNey.fit([1], 0, 3, EOS)
    model = KneserNey.fit([1], 2, 3, EOS)
    with pytest.raises(DataError, match="from -1 to 1"):
        model.log_probs_of([1, -1])
    with pytest.raises(DataError, match="from 0 to 9"):
        model.distribution([9])


def test_step_by_step_is_the_whole_text_to_the_last_bit(pair):
    ngrams = pair[0].backoff
    text = zipf_text(300, 45, seed=7)
    contexts = ngrams.read(EOS, [-1] * (ngrams.order - 1))
    for token, log_prob in zip(text.tolist(), ngrams.log_probs_of(text)):
        assert ngrams.distribution_after(contexts)[token] == log_prob
        contexts = ngrams.read(token, contexts)
    with pytest.raises(DataError, match="token id 45; the model's vocabulary has 0 to 44"):
        ngrams.read(45, contexts)


def test_grams_are_the_distinct_n_grams_of_the_text():
    ids = zipf_text(400, 20, seed=8)
    ngrams = KneserNey.fit(ids, 4, 20, EOS).backoff
    for n in range(1, 5):
        expected = {
            (EOS, *sentence)[max(end - n + 1, 0) : end + 1]
            for sentence in map(tuple, sentences(ids))
            for end in range(1, len(sentence) + 1)
            if end + 1 >= n
        }
        rows = ngrams.grams(n)
        assert len(rows) == ngrams.sizes[n - 1]
        assert n == 1 or {tuple(row) for row in rows.tolist()} == expected
        np.testing.assert_array_equal(ngrams.grams(n, 3, 9), rows[3:9])


def test_back_off_tables_saved_and_loaded(pair):
    ngrams = pair[0].backoff
    tensors = safetensors.numpy.load(safetensors.numpy.save(ngrams.tensors()))
    loaded = BackoffNgrams.from_tensors(tensors)
    text = zipf_text(200, 45, seed=6)
    np.testing.assert_array_equal(loaded.log_probs_of(text), ngrams.log_probs_of(text))
    assert (loaded.sizes, loaded.eos) == (ngrams.sizes, EOS)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("2.log_probs", np.full(4, np.nan), "a logarithm is not a finite number"),
        ("log_unigrams", np.full(3, -np.inf), "a logarithm is not a finite number"),
        ("2.keys", np.array([0, 1, 9, LAST_KEY]), r"2\.keys are not from 0 to 8"),
        ("2.keys", np.array([-1, 1, 8, LAST_KEY]), r"2\.keys are not from 0 to 8"),
        ("2.log_backoffs", np.zeros(3), r"2\.log_backoffs is float64 \(3,\), expected .* \(4,\)"),
        ("eos", np.array([-1]), "eos is -1 in a vocabulary of 3"),
    ],
)
def test_back_off_tables_that_do_not_fit_are_refused(name, array, message):
    tensors = {**KneserNey.fit([1, 2, EOS], 2, 3, EOS).backoff.tensors(), name: array}
    with pytest.raises(CheckpointError, match=message):
        BackoffNgrams.from_tensors(tensors)


@pytest.mark.parametrize("name", ["unigrams", "2.probabilities", "3.backoffs"])
@pytest.mark.parametrize("value", [np.nan, -0.5, 0.0, 2.0])
def test_what_is_no_probability_is_refused(name, value):
    tensors = KneserNey.fit([1, 2, EOS], 3, 3, EOS).tensors()
    tensors[name] = tensors[name].copy()
    tensors[name][0] = value
    with pytest.raises(CheckpointError, match="is not from 0 to 1"):
        KneserNey.from_tensors(tensors)


def test_an_n_gram_whose_end_is_none_is_refused():
    tensors = KneserNey.fit([1, 2, EOS], 3, 3, EOS).tensors()
    tensors["2.keys"] = tensors["2.keys"].copy()
    tensors["2.keys"][1] = 1 * 3 + 0  # for 1 2, which ends 0 1 2
    with pytest.raises(CheckpointError, match="the end of an n-gram is not in it"):
        KneserNey.from_tensors(tensors).log_probs_of([1])


def test_cut_offs_leave_out_what_is_rare_and_no_more():
    ids = zipf_text(2000, 40, seed=1)
    whole = KneserNey.fit(ids, 4, 45, EOS)
    cut = KneserNey.fit(ids, 4, 45, EOS, cutoffs=(0, 1, 2))
    occurrences = [Counter() for _ in range(5)]
    for sentence in sentences(ids):
        words = (EOS, *sentence)
        for end in range(1, len(words)):
            for n in range(2, min(4, end + 1) + 1):
                occurrences[n][words[end + 1 - n : end + 1]] += 1
    for n, least in ((2, 1), (3, 2), (4, 2)):
        expected = {gram for gram, count in occurrences[n].items() if count > least}
        assert {tuple(gram) for gram in cut.backoff.grams(n).tolist()} == expected
        assert 0 < len(expected) < len(occurrences[n])
        # What stays keeps its share, and a context gives what is gone to the shorter one.
        shares = dict(zip(map(tuple, whole.backoff.grams(n)), whole.levels[n - 2].probabilities))
        kept = cut.levels[n - 2].probabilities[:-1]
        grams = list(map(tuple, cut.backoff.grams(n).tolist()))
        np.testing.assert_array_equal(kept, [shares[gram] for gram in grams])
        given = Counter({gram[:-1]: 0.0 for gram in grams})
        for gram, share in zip(grams, kept):
            given[gram[:-1]] += share
        contexts = map(tuple, cut.backoff.grams(n - 1).tolist())
        expected_weights = [1 - given[context] for context in contexts]
        np.testing.assert_allclose(cut.levels[n - 2].backoffs[:-1], expected_weights, rtol=1e-12)


@pytest.mark.parametrize("cutoffs", [(), (1,), (0, 2, 1), (-1, 0)])
def test_cut_offs_that_are_none_are_refused(cutoffs):
    with pytest.raises(ConfigError, match="the first is 0, and none is below the one before"):
        KneserNey.fit([1, EOS], 2, 3, EOS, cutoffs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(words, min_size=1, max_size=40),
    st.integers(1, 5),
    st.lists(st.integers(0, 2), max_size=3),
    st.sampled_from([0.0, 1e-6, 1e-3, 1e-2, 0.3]),
)
def test_any_pruned_model_sums_to_one(train, order, cutoffs, threshold):
    whole = KneserNey.fit(train, order, 6, EOS, (0, *sorted(cutoffs)))
    model = whole.pruned(threshold, train)
    assert all(a <= b for a, b in zip(model.sizes, whole.backoff.sizes))
    histories = [[], *[train[: i + 1] for i in range(len(train))], [5, 4], [1, 2, 3, 4]]
    for history in histories:
        distribution = model.distribution(history)
        assert np.isfinite(distribution).all()
        assert np.exp(distribution).sum() == pytest.approx(1, abs=1e-9)


def without(ngrams, n, rank):
    """The model of length n without one n-gram, its context's weight made anew by plain sums."""
    level = ngrams.levels[n - 2]
    V = ngrams.vocabulary_size
    keys, log_probs = np.delete(level.keys, rank), np.delete(level.log_probs, rank)
    shorter = BackoffNgrams(ngrams.log_unigrams, ngrams.levels[: n - 2], ngrams.eos)
    context = level.keys[rank] // V
    history = [*ngrams.grams(n)[rank][:-1].tolist()]
    kept = keys[keys // V == context] % V
    below = np.exp(distribution_after_words(shorter, history[1:]))
    weights = level.log_backoffs.copy()
    own = sum(np.exp(log_probs[:-1][keys[:-1] // V == context]))
    weights[context] = np.log((1 - own) / (1 - sum(below[kept])))
    changed = BackoffLevel(keys, log_probs, weights, V)
    return BackoffNgrams(ngrams.log_unigrams, (*shorter.levels, changed), ngrams.eos), history


def distribution_after_words(ngrams, history):
    contexts = [-1] * (ngrams.order - 1)
    for word in history:
        contexts = ngrams.read(word, contexts)
    return ngrams.distribution_after(contexts)


def test_pruning_weighs_each_n_gram_by_the_entropy_it_costs():
    """Stolcke's equations against the plain sum over all words, n-gram by n-gram."""
    ids = zipf_text(800, 12, seed=3)
    ngrams = KneserNey.fit(ids, 3, 14, EOS).backoff
    text = [EOS, *ids.tolist()]
    losses = []
    for rank in range(ngrams.sizes[2]):
        less, history = without(ngrams, 3, rank)
        before, after = (distribution_after_words(model, history) for model in (ngrams, less))
        assert np.exp(after).sum() == pytest.approx(1, abs=1e-12)
        times = sum(
            text[i : i + 2] == history and EOS not in text[i + 1 : i + 2] for i in range(799)
        )
        losses.append(np.expm1(times / 800 * (np.exp(before) * (before - after)).sum()))
    ordered = np.sort(losses)
    gaps = np.flatnonzero(ordered[1:] > 1.001 * ordered[:-1])  # a threshold where none is near
    middle = gaps[np.abs(gaps - len(ordered) // 2).argmin()]
    threshold = float(ordered[middle : middle + 2].mean())
    kept = pruned(ngrams, threshold, ids).grams(3).tolist()
    assert kept == ngrams.grams(3)[np.array(losses) >= threshold].tolist()
    assert 0 < len(kept) < len(losses)


def test_pruned_n_grams_keep_their_probability_and_their_contexts():
    ids = zipf_text(3000, 40, seed=1)
    whole = KneserNey.fit(ids, 4, 45, EOS).backoff
    model = pruned(whole, 1e-4, ids)
    for n in (2, 3, 4):
        before = dict(zip(map(tuple, whole.grams(n).tolist()), whole.levels[n - 2].log_probs))
        grams = list(map(tuple, model.grams(n).tolist()))
        assert 0 < len(grams) < len(before)
        assert model.levels[n - 2].log_probs[:-1].tolist() == [before[gram] for gram in grams]
        if n > 2:
            assert {gram[:-1] for gram in grams} <= set(map(tuple, model.grams(n - 1).tolist()))


def test_a_higher_threshold_leaves_less():
    ids = zipf_text(3000, 40, seed=1)
    model = KneserNey.fit(ids, 3, 45, EOS)
    thresholds = (0, 1e-7, 1e-5, 1e-4, 1e-3, 1e9)
    sizes = [sum(model.pruned(threshold, ids).sizes) for threshold in thresholds]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == sum(model.backoff.sizes)
    assert sizes[-1] == 45  # the words alone
    losses = [-model.pruned(threshold, ids).log_probs_of(ids).mean() for threshold in thresholds]
    assert losses == sorted(losses)


@pytest.mark.parametrize("threshold", [-1e-9, np.nan, np.inf])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(ConfigError, match="the threshold of pruning is"):
        KneserNey.fit([1], 2, 3, EOS).pruned(threshold, [1])


@pytest.fixture(scope="module")
def ptb(data_root: Path):
    """The ids of the three splits, the vocabulary's size, and the id of `<eos>`."""
    splits = {
        name: (data_root / "ptb" / f"ptb.{name}.txt").read_text().replace("\n", " <eos> ").split()
        for name in ("train", "valid", "test")
    }
    counts = Counter(splits["train"])
    ids = {word: i for i, word in enumerate(sorted(counts, key=lambda w: (-counts[w], w)))}
    arrays = {name: np.array([ids[word] for word in text]) for name, text in splits.items()}
    return arrays, len(ids), ids["<eos>"]


@pytest.mark.parametrize(
    ("order", "valid", "test"),
    [
        (1, 685.218, 639.187),
        (2, 199.019, 185.705),
        (3, 157.766, 148.281),
        (4, 149.896, 142.715),
        (5, 148.008, 141.186),  # published: 141.2 (Mikolov & Zweig, 2012)
    ],
)
def test_perplexity_on_ptb(ptb, order, valid, test):
    splits, vocabulary_size, eos = ptb
    assert (len(splits["train"]), len(splits["test"]), vocabulary_size) == (929_589, 82_430, 10_000)
    model = KneserNey.fit(splits["train"], order, vocabulary_size, eos)
    for split, expected in (("valid", valid), ("test", test)):
        perplexity = np.exp(-model.log_probs_of(splits[split]).mean())
        assert perplexity == pytest.approx(expected, abs=0.002)


def test_pruned_on_ptb(ptb):
    splits, vocabulary_size, eos = ptb
    cut = KneserNey.fit(splits["train"], 3, vocabulary_size, eos, (0, 0, 1)).backoff
    assert cut.sizes == (10_000, 264_990, 81_305)
    assert np.exp(-cut.log_probs_of(splits["test"]).mean()) == pytest.approx(153.238, abs=0.002)
    small = pruned(cut, 1e-7, splits["train"])
    assert small.sizes == (10_000, 259_689, 80_364)
    assert np.exp(-small.log_probs_of(splits["test"]).mean()) == pytest.approx(153.370, abs=0.002)
