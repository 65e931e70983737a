"""A judge gives an opinion: what it is worth stands beside it, and it is not shown as a test result."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.schema import Attempt, Checkpoint, Column, Score, Task
from pipeline.settings import Settings
from tests.made_up_runs import CHRF, EXECUTION, JUDGE, bare_settings, make_run
from ui.lab import Lab
from ui.results import report
from ui.results.presenter import Presenter
from ui.score_table import score_table

PASSED = [1.0, 0.0, 0.0, 0.0] * 15


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return bare_settings(tmp_path)


def shown(settings: Settings, metric: str, key: str = "") -> dict[str, str]:
    return Presenter(Lab(settings).stored).show(key, metric)


def executed(settings: Settings, verdicts: list[float | None]) -> None:
    make_run(settings, 0, dataset="humaneval", values={EXECUTION: PASSED, CHRF: PASSED, JUDGE: verdicts})


def test_a_judge_that_is_no_better_than_chance_is_called_that_above_its_figures(own: Settings) -> None:
    executed(own, [1.0, 1.0, 0.0, 0.0] * 7 + [0.0, 1.0, 0.0, 1.0] * 8)
    said = shown(own, JUDGE)["headline"]
    assert said.startswith('<p class="headline">This judge agrees with the tests no more than chance: κ ')
    assert "This judge" not in shown(own, CHRF)["headline"]


def test_a_judge_that_is_right_is_said_to_be(own: Settings) -> None:
    executed(own, [1.0 - each if at == 0 else each for at, each in enumerate(PASSED)])
    assert "agrees with the tests almost always: κ .9" in shown(own, JUDGE)["headline"]


def test_where_a_set_up_has_no_tests_those_of_another_one_say_what_its_judge_is_worth(own: Settings) -> None:
    executed(own, list(PASSED))
    judged = make_run(own, 0, values={JUDGE: [1.0, 0.0] * 20})
    presenter = Presenter(Lab(own).stored)
    (key,) = [each.key for each in presenter.runs.setups() if each.runs[0].config.id == judged.config.id]
    said = presenter.show(key, JUDGE)["headline"]
    assert re.search("This judge agrees with the tests of SmolLM2[^<]*HumanEval[^<]* almost always", said)


def test_what_a_judge_is_worth_stands_above_its_figures_in_an_export_too(own: Settings) -> None:
    executed(own, list(PASSED))
    presenter = Presenter(Lab(own).stored)
    (setup,) = presenter.runs.setups()
    page = report.html(presenter.runs, setup, CHRF)
    assert page.count("This judge agrees with the tests almost always") == 1


def test_verdicts_are_not_coloured_as_results_of_tests_are(own: Settings) -> None:
    executed(own, list(PASSED))
    presenter = Presenter(Lab(own).stored)
    execution, judge = (presenter.matrix("", name, "", "all", "", None) for name in (EXECUTION, JUDGE))
    assert re.search('class="(up|down)"', execution)
    assert not re.search('class="(up|down)"', judge)


def test_of_two_answers_none_is_the_better_by_a_judge_s_word_alone() -> None:
    columns = [Column(Checkpoint("", name), "regular") for name in ("baseline", "200-regular")]
    scores = [{JUDGE: Score(JUDGE, 0.0), CHRF: Score(CHRF, 1.0)}, {JUDGE: Score(JUDGE, 1.0)}]
    attempts = [Attempt(Task("x"), at, scores=each) for at, each in zip(columns, scores, strict=True)]
    assert "best" not in score_table(attempts)


def test_a_verdict_is_called_an_opinion_in_the_hint_of_its_row_and_to_a_screen_reader() -> None:
    column = Column(Checkpoint("", "baseline"), "regular")
    scores = {name: Score(name, 1.0) for name in (JUDGE, CHRF)}
    judged, other = re.findall(
        "<tr><th scope.*?</tr>", score_table([Attempt(Task("x"), column, scores=scores)])
    )[::-1]
    assert CHRF in other
    assert "opinion" not in other
    said = "It is an opinion: Results says how far the judge agrees with the tests."
    assert re.search(f'title="[^"]*{said}"', judged)
    assert f'<span class="sr">. {said}</span>' in judged


def test_advice_on_the_settings_of_a_judge_is_not_given_to_a_reader_of_its_scores(own: Settings) -> None:
    reason = "the judge's answer was cut off at 512 tokens; raise its token limit"
    run = make_run(own, 0, values={JUDGE: [1.0, None]})
    items = run.path / "items.jsonl"
    items.write_text(items.read_text(encoding="utf-8").replace("made up", reason), encoding="utf-8")
    said = shown(own, JUDGE)["explanation"]
    assert "cut off at 512 tokens" in said
    assert "raise its token limit" not in said


def test_a_difference_of_fewer_samples_than_its_two_figures_says_so_beside_them(own: Settings) -> None:
    make_run(own, 0, values={CHRF: [10.0] * 40})
    make_run(own, 200, values={CHRF: [20.0] * 30 + [None] * 10})
    assert "the difference is of those that both have one of" in shown(own, CHRF)["headline"]


def test_results_begin_with_how_much_data_a_change_takes_under_every_prompt(own: Settings) -> None:
    for variant, gain in (("regular", 10), ("augmented", 20)):
        for size, share in ((0, 0.0), (200, 0.8), (1000, 1.0)):
            scores = [20 + at % 7 + gain * share + (at * size) % 3 / 10 for at in range(60)]
            make_run(own, size, variant, values={CHRF: scores})  # type: ignore[arg-type]
    said = re.sub("<[^>]*>", "", shown(own, CHRF)["headline"].partition("</p>")[0])
    assert re.fullmatch(
        r"1,000 training samples change chrF by \+10\.\d \(regular prompt, 95% interval [^)]*\) and "
        r"\+20\.\d \(augmented prompt, 95% interval [^)]*\); "
        r"the first 200 already bring 80% and 80% of that\.",
        said,
    )


def test_a_prompt_under_which_nothing_can_be_told_from_noise_is_set_apart(own: Settings) -> None:
    for variant, gain in (("regular", 0), ("augmented", 20)):
        for size in (0, 1000):
            scores = [20 + at % 7 + gain * (size > 0) + (at * (size + 7)) % 3 / 10 for at in range(60)]
            make_run(own, size, variant, values={CHRF: scores})  # type: ignore[arg-type]
    said = re.sub("<[^>]*>", "", shown(own, CHRF)["headline"].partition("</p>")[0])
    assert re.match(r"1,000 training samples change chrF by \+20\.\d \(augmented prompt, ", said)
    assert re.search(r"\)\. Not distinguishable from noise: [+−]?0\.\d \(regular prompt, ", said)
