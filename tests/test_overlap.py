import random
import tracemalloc

import pytest

from pipeline.data.overlap import THRESHOLD, N, context_overlap, measure_overlap, ngrams
from pipeline.evaluation.datasets import load_dataset
from pipeline.schema import Sample
from pipeline.settings import Settings


def sample(name: str, function: str) -> Sample:
    return Sample(name, "write it", function, name, function, len(function), "repo", "file.py")


def function(seed: int, words: int = 60) -> str:
    draw = random.Random(seed)
    return "\n".join(
        f"    name{seed}_{draw.randrange(10**6)} = {draw.randrange(10**6)}" for _ in range(words // 3)
    )


TRAIN = [sample(f"train{seed}", function(seed)) for seed in range(50)]
SIZES = (10, 20, 50)


def test_a_copy_is_contaminated_from_the_place_where_it_stands_in_the_training_order():
    (overlap,) = measure_overlap([sample("copy", function(14))], TRAIN, SIZES)
    assert overlap.shares == {10: 0.0, 20: 1.0, 50: 1.0}
    assert overlap.contaminated_from == 15
    assert [overlap.contaminated(size) for size in SIZES] == [False, True, True]


def test_what_was_never_seen_is_never_contaminated():
    (overlap,) = measure_overlap([sample("new", function(999))], TRAIN, SIZES)
    assert overlap.shares == dict.fromkeys(SIZES, 0.0)
    assert overlap.contaminated_from is None


def test_comments_and_layout_do_not_hide_a_copy():
    disguised = function(3).replace("\n", "  # copied\n\n    ").replace(" = ", "=")
    (overlap,) = measure_overlap([sample("disguised", disguised)], TRAIN, SIZES)
    assert overlap.shares[10] == 1.0


def test_pieces_from_several_samples_add_up():
    halves = "\n".join(function(seed).rsplit("\n", 10)[0] for seed in (5, 15))
    (overlap,) = measure_overlap([sample("halves", halves)], TRAIN, SIZES)
    assert 0.3 < overlap.shares[10] < THRESHOLD <= overlap.shares[20] < 1
    assert overlap.contaminated_from == 16


def test_shares_equal_a_plain_count_and_never_fall_as_subsets_grow(settings: Settings):
    dataset = load_dataset(settings, "packages")
    test, train = list(dataset.test[:20]), list(dataset.train[:200])
    sizes = (1, 50, 199, 200)
    seen = {size: set().union(*(ngrams(each.function) for each in train[:size])) for size in sizes}
    for overlap, held_out in zip(measure_overlap(test, train, sizes), test, strict=True):
        grams = ngrams(held_out.function)
        for size in sizes:
            assert overlap.shares[size] == pytest.approx(len(grams & seen[size]) / len(grams))
            assert overlap.contaminated(size) == (overlap.shares[size] >= THRESHOLD)
        assert list(overlap.shares.values()) == sorted(overlap.shares.values())


def test_text_shorter_than_an_n_gram_counts_as_one():
    assert ngrams("return x") == {("return", "x")}
    assert ngrams("  # nothing but a comment") == set()
    assert all(len(gram) == N for gram in ngrams("a b c d e f g h i j"))


def test_a_prompt_that_shows_the_reference_overlaps_wholly_and_another_file_not_at_all():
    item = sample("item", function(7))
    assert context_overlap(item, "import torch\n" + function(7) + "\nx = 1") == 1.0
    assert context_overlap(item, function(8)) == 0.0
    assert context_overlap(item, "") == 0.0


def test_the_tokens_of_very_much_code_take_little_memory() -> None:
    symbols = random.Random(1)
    many = [
        sample(str(at), "".join(symbols.choices("()[]{}+-*/%=<>!,.:;&|^~", k=2_000))) for at in range(200)
    ]
    tracemalloc.start()
    overlaps = measure_overlap(many, many, [100, 200])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(overlap.contaminated(100) for overlap in overlaps) == 100
    assert all(overlap.shares[200] == 1 for overlap in overlaps)
    assert peak < 30_000_000
