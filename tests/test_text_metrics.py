"""Metrics of the text alone, and how scorers are put together."""

import warnings

import pytest

from pipeline.schema import Checkpoint, Column, LabError
from pipeline.scoring import METRICS, in_order, offline_scorers, score_all
from pipeline.scoring.likelihood import BITS_PER_BYTE, Likelihood
from pipeline.scoring.text import (
    Parses,
    TextSimilarity,
    chrf,
    edit_similarity,
    parses,
    same_signature,
    signature,
)
from tests.attempts import attempt

REFERENCE = "def area(width, height=1):\n    return width * height"


def scores_of(code, reference=REFERENCE, scorers=None):
    asked = attempt("Write it.", code, code, reference)
    return score_all([asked], scorers or [TextSimilarity(), Parses()])[0]


def test_what_the_tests_say_comes_first_and_a_judge_s_opinion_last():
    judge, tests = "CodeJudge naive (gpt-4o)", "execution (packages)"
    assert in_order(["chrF", judge, "parses", tests]) == [tests, "chrF", "parses", judge]


def test_the_reference_itself_scores_best():
    assert {name: round(score.value, 6) for name, score in scores_of(REFERENCE).items()} == {
        "chrF": 100.0,
        "edit similarity": 1.0,
        "same signature": 1.0,
        "parses": 1.0,
    }


def test_chrf_is_sacrebleu_s_and_edit_similarity_is_the_levenshtein_distance_over_the_longer_length():
    import sacrebleu

    assert (
        chrf("def area(w): return w", REFERENCE)
        == sacrebleu.sentence_chrf("def area(w): return w", [REFERENCE]).score
    )
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("    def f(self):\n        return 1", 1),  # a method as it stands in its class
        ("@property\n    def f(self):\n        return 1", 1),  # the same, its first indentation lost
        ("def f(self):\n        return 1\n\n    def g(self):\n        return 2", 1),
        ("def f(:", 0),
        ("def f():", 0),
        ("Here is the function you asked for:", 0),
        ("", 0),
        ("# nothing but a comment", 0),
        ("x = 1\0", 0),
        ("x = '\ud800'", 0),
    ],
)
def test_code_parses_or_does_not(code, value):
    assert parses(code).value == value


@pytest.mark.parametrize("code", ["-" * 50_000 + "1", "a" + ".b" * 50_000, "not " * 25_000 + "1"])
def test_code_too_deep_for_the_parser_is_unscored(code):
    score = parses(code)
    assert score.value is None
    assert "too deeply" in score.reason


def test_a_syntax_warning_is_neither_shown_nor_taken_for_an_error():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert parses("x = '\\d' is 1").value == 1
    assert not caught


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(a, /, b: int = 1, *rest, key=None, **more) -> int: return a", "f(a, b, *rest, key, **more)"),
        ("import x\n\n    async def f(a,\n          *, b=(1, 2)):  # why\n        return", "f(a, *, b)"),
        ("class Net(nn.Module):\n    def __init__(self", "Net(nn.Module)"),
        ("def f(a, b):\n    return (a +", "f(a, b)"),  # cut short
        ("def f(a,", None),
        ("x = 1", None),
    ],
)
def test_a_signature_is_read_from_the_header_alone(code, expected):
    assert signature(code) == expected


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("def area(width: float, height=2):\n    pass", 1),
        ("def area(height, width):\n    pass", 0),
        ("def volume(width, height):\n    pass", 0),
        ("return width * height", 0),
    ],
)
def test_a_signature_is_the_same_where_name_and_parameters_are(code, value):
    assert same_signature(code, REFERENCE).value == value


def test_a_reference_without_a_definition_leaves_the_signature_unscored_and_nothing_else():
    scores = scores_of("return x", "return x + 1")
    assert [name for name, score in scores.items() if score.value is None] == ["same signature"]


@pytest.mark.parametrize("code", ["", " \n", ")(", "\0\0", "π = 'ℝ²'\r\n", "x = 1\n" * 17_000, "(" * 100_000])
def test_no_text_crashes_a_metric(code):
    for score in scores_of(code).values():
        assert (score.value is None) == bool(score.reason)


def test_line_ends_of_the_reference_do_not_count():
    assert scores_of(REFERENCE, REFERENCE.replace("\n", "\r\n"))["edit similarity"].value == 1


def test_a_free_instruction_gets_only_what_needs_no_reference():
    assert list(scores_of(REFERENCE, None, offline_scorers(reference=False))) == ["parses"]
    assert list(scores_of(REFERENCE, None)) == ["parses"]


def test_every_metric_is_described_and_only_bits_per_byte_is_better_when_lower():
    names = {
        name
        for scorer in (TextSimilarity(), Parses(), Likelihood(StubbornEngine()))
        for name in scorer.metrics
    }
    assert names <= set(METRICS)
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == [BITS_PER_BYTE]
    assert all(metric.description.endswith(".") for metric in METRICS.values())


class StubbornEngine:
    """Gives half a bit for each character of the prompt, and refuses prompts that say so."""

    def bits_per_byte(self, requests, references):
        if any("damaged" in request.prompt for request in requests):
            raise LabError("the adapter is damaged")
        return [len(request.prompt) / 2 for request in requests]


def test_bits_per_byte_comes_from_the_engine_and_one_refusal_spoils_no_other():
    column = Column(Checkpoint("family", "baseline"), "regular")
    candidates = [
        attempt("i", "t", "c", "r", "four", column),
        attempt("i", "t", "c", "r", "damaged", column),
        attempt("i", "t", "c", "r", "", column),
        attempt("i", "t", "c", "", "prompt", column),
        attempt("i", "t", "c", "r", "eight by", column),
    ]
    scores = [row[0] for row in Likelihood(StubbornEngine()).score(candidates)]
    assert [score.value for score in scores] == [2.0, None, None, None, 4.0]
    assert scores[1].reason == "the adapter is damaged"
    assert all(score.reason for score in scores if score.value is None)
