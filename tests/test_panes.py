"""Panes as HTML: nothing that a model writes becomes markup, and what is scored can be seen."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from pipeline.schema import Attempt, Checkpoint, Column, Completion, Score, Task, TokenChoice
from pipeline.scoring.encoder import MINILM
from ui import markup, panes
from ui.labels import task_label
from ui.score_table import score_table

BASELINE = Column(Checkpoint("smollm2-135m", "baseline"), "regular")
TUNED = Column(Checkpoint("smollm2-135m", "200-regular", 200, "regular", fingerprint="abc123"), "regular")
HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(1)"> ${1} {{x}} "\'>'
TASK = Task("Do it.", reference="def f(a):\n    return a")


def scored(column: Column, scores: dict[str, float]) -> Attempt:
    found = {name: Score(name, value) for name, value in scores.items()}
    return Attempt(TASK, column, completion=completion("x"), code="x", scores=found)


def completion(text: str, reason: str | None = "stop") -> Completion:
    return Completion("", text, 3, reason, 1.5, 0.1)  # type: ignore[arg-type]


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


@pytest.mark.parametrize("reason", [None, "stop", "length", "cancelled"])
@pytest.mark.parametrize("against", ["nothing", "the reference"])
def test_nothing_that_is_shown_becomes_markup(reason: str | None, against: panes.Against) -> None:
    asked = Task(HOSTILE, reference=HOSTILE)
    done = Attempt(
        asked,
        TUNED,
        HOSTILE,
        HOSTILE,
        completion(HOSTILE, reason),
        HOSTILE,
        {HOSTILE: Score(HOSTILE, None, HOSTILE)},
    )
    failed = Attempt(asked, BASELINE, error=HOSTILE)
    html = panes.grid([done, failed], True, against)
    assert "<script" not in html
    assert "<img" not in html
    assert not re.search(r'="[^"]*<', html)


def test_the_scored_code_is_highlighted_and_the_prose_around_it_is_not() -> None:
    html = markup.answer("Sure:\n```python\ndef f(a):\n    return a\n```\nDone.", "def f(a):\n    return a")
    before, code, after = re.split(r'<span class="aside">.*?</span>', html, flags=re.DOTALL)
    assert (before, after) == ("", "")
    assert text_of(code).strip("\n") == "def f(a):\n    return a"
    assert 'class="k"' in code


def test_prose_in_which_there_is_no_code_is_not_highlighted() -> None:
    prose = "The provided input does not contain any\nexisting code and is not a function."
    assert markup.answer(prose, prose) == prose
    mixed = markup.answer(
        f"{prose}\n\n@cached\ndef f():\n    not it is", f"{prose}\n\n@cached\ndef f():\n    not it is"
    )
    assert mixed.startswith(prose)
    assert 'class="k">def' in mixed
    cut = "def f(a, b):\n    return (a +"
    assert 'class="k"' in markup.answer(cut, cut)


def test_the_time_of_an_answer_is_its_own_and_only_said_once_it_has_ended() -> None:
    done = replace(completion("x = 1"), seconds=12.34)
    assert "3 tokens in 12.3 s" in text_of(panes.grid([Attempt(TASK, TUNED, completion=done)]))
    running = replace(done, finish_reason=None)
    assert " s" not in re.findall(r"3 tokens[^<]*", panes.grid([Attempt(TASK, TUNED, completion=running)]))[0]


def test_what_the_prompts_of_a_row_share_is_said_once_above_it() -> None:
    def shown(column: Column, trimmed: str) -> Attempt:
        return replace(scored(column, {}), trimmed=trimmed)

    assert (
        panes.grid([shown(BASELINE, "3 lines left out"), shown(TUNED, "3 lines left out")]).count("3 lines")
        == 1
    )
    html = panes.grid([shown(BASELINE, "3 lines left out"), shown(TUNED, "4 lines left out")])
    assert (html.count("3 lines"), html.count("4 lines")) == (1, 1)


def test_an_answer_without_code_says_so_in_the_place_of_its_copy_button() -> None:
    html = panes.grid([Attempt(TASK, TUNED, completion=completion("..."))])
    assert "data-copy" not in html
    assert "no code" in html


def test_a_completion_is_shown_whole() -> None:
    raw = "Sure:\n```python\ndef f(a):\n\n    return a\n```\nDone."
    assert text_of(markup.answer(raw, "def f(a):\n\n    return a")) == raw
    assert text_of(markup.answer(raw, "")) == raw


@pytest.mark.parametrize(
    ("column", "mark", "words"),
    [
        (TUNED, "abc123", "adapter abc123"),
        (BASELINE, "", "no adapter"),
        (replace(TUNED, checkpoint=replace(TUNED.checkpoint, fingerprint="")), "f00", "adapter f00"),
        (BASELINE, "remote:lab-8b", "served as lab-8b"),
    ],
)
def test_a_pane_names_what_wrote_it_as_the_engine_says(column: Column, mark: str, words: str) -> None:
    done = Attempt(TASK, column, "p", "p", replace(completion("def f(): pass"), fingerprint=mark))
    assert words in text_of(panes.grid([done]))


def test_a_difference_leads_each_line_by_its_sign() -> None:
    html = markup.diff("a\nb\nc", "a\nB\nc")
    assert re.findall(r'<span class="(\w+)">(..)', html) == [
        ("same", "  "), ("del", "- "), ("ins", "+ "), ("same", "  ")
    ]  # fmt: skip


def test_the_baseline_is_the_base_of_differences_within_its_prompt_variant() -> None:
    other = replace(BASELINE, variant="augmented")
    shown = [Attempt(TASK, c, completion=completion("x = 1"), code="x = 1") for c in (BASELINE, other, TUNED)]
    html = panes.grid(shown, against="the baseline")
    assert html.count('class="diff"') == 1


def test_what_is_unscored_says_why() -> None:
    score = Score("chrF", None, "there is no reference")
    done = Attempt(TASK, TUNED, completion=completion("x"), code="x", scores={score.metric: score})
    html = panes.grid([done])
    assert "not scored: there is no reference" in text_of(html)


def test_what_a_server_refused_is_said_below_its_answer() -> None:
    written = replace(completion("x"), note="The server refuses seed, which was left out.")
    attempt = Attempt(TASK, TUNED, completion=written, code="x")
    assert "refuses seed" in text_of(panes.grid([attempt], TASK))


def test_the_best_of_each_score_is_marked_where_the_panes_differ() -> None:
    def shown(column: Column, chrf: float, bits: float) -> Attempt:
        return scored(column, {"chrF": chrf, "bits per byte": bits, "parses": 1.0})

    html = panes.grid([shown(BASELINE, 20.0, 0.5), shown(TUNED, 10.0, 0.25)])
    assert re.findall(r'<td class="best">([^<]*)', html) == [".25", "20.0"]
    html = panes.grid([shown(BASELINE, 20.0, 0.249), shown(TUNED, 10.0, 0.251)])
    assert re.findall(r'<td class="best">([^<]*)', html) == ["20.0"]


def test_no_score_is_called_the_best_while_one_of_its_row_is_awaited() -> None:
    done = [scored(BASELINE, {"chrF": 10.0}), scored(TUNED, {"chrF": 20.0})]
    assert "best" in score_table(done, awaited=["chrF"])
    assert "best" not in score_table([*done, Attempt(TASK, BASELINE)], awaited=["chrF"])


def test_the_scores_stand_once_above_the_panes_a_column_for_each_attempt() -> None:
    shown = [scored(BASELINE, {"chrF": 20.0}), scored(TUNED, {"chrF": 10.0, "parses": 1.0})]
    table, panes_below = panes.grid(shown).split('<h3 class="prompt">', 1)
    assert re.findall(r'<th scope="col">([^<]*)', table) == ["Baseline", "200 samples"]
    assert re.findall(r"<td[^>]*>([^<]*)", table) == [
        "↑ higher, ↓ lower is better", "20.0", "10.0", "–", "yes"
    ]  # fmt: skip
    assert "<table" not in panes_below


def test_each_row_says_which_way_is_better() -> None:
    table = score_table([scored(TUNED, {"chrF": 20.0, "bits per byte": 0.25})])
    rows = [text_of(row) for row in re.findall(r'<th scope="row">.*?</th>', table)]
    assert rows == ["bits per byte ↓, lower is better", "chrF ↑, higher is better"]


def test_rescaled_scores_and_those_of_the_raw_text_are_folded_away() -> None:
    names = dict.fromkeys(("chrF", *MINILM.metrics), 0.5)
    shown, folded = score_table([scored(TUNED, names)]).split("<details>")
    assert re.findall(r'<th scope="row"><span[^>]*>([^<]*)', shown) == [MINILM.metric(), "chrF"]
    assert re.findall(r'<th scope="row"><span[^>]*>([^<]*)', folded) == list(MINILM.metrics[1:])


def test_a_row_stands_from_the_first_token_so_that_the_panes_do_not_move_when_scores_come() -> None:
    shown = [Attempt(TASK, BASELINE, error="damaged"), Attempt(TASK, TUNED, completion=completion("x", None))]
    cells = re.findall(r"<td>([^<]*)", score_table(shown, awaited=["parses"]))
    assert cells == ["–", "…"]


def test_a_reason_stands_once_below_the_table_however_many_scores_it_explains() -> None:
    scores = {name: Score(name, None, "there is no reference") for name in ("chrF", "edit similarity")}
    shown = [Attempt(TASK, column, completion=completion("x"), scores=scores) for column in (BASELINE, TUNED)]
    notes = re.findall(r'<p class="note">([^<]*)', score_table(shown))
    assert notes == ["chrF, edit similarity not scored: there is no reference"]


def test_each_prompt_variant_has_a_row_of_panes_of_its_own() -> None:
    other = replace(TUNED, variant="augmented")
    html = panes.grid([scored(column, {"chrF": 1.0}) for column in (BASELINE, other, TUNED)])
    rows = html.split('<h3 class="prompt">')[1:]
    names = [re.findall(r'<section class="pane" aria-label="([^"]*)', row) for row in rows]
    assert names == [["Baseline · regular", "200 samples · regular"], ["200 samples · augmented"]]
    assert re.findall(r'colspan="(\d)"><span>([^<]*)', html) == [
        ("2", "Regular prompt"),
        ("1", "Augmented prompt"),
    ]


def test_every_pane_has_the_four_parts_that_the_style_sheet_lines_up() -> None:
    shown = [
        Attempt(TASK, BASELINE, error="damaged"),
        Attempt(TASK, TUNED),
        Attempt(TASK, TUNED, completion=completion("x", None)),
        Attempt(TASK, TUNED, completion=completion("x"), code="x", trimmed="much"),
    ]
    html = panes.grid(shown, show_reference=True)
    for card in html.split("<section")[1:]:
        parts = re.findall(r'<(header>|p class="facts"|div class="body"|div class="foot")', card)
        assert parts == ["header>", 'p class="facts"', 'div class="body"', 'div class="foot"']


def test_backticks_in_an_instruction_become_code_and_nothing_becomes_markup() -> None:
    assert markup.prose("Write `f(x)` <b>, `- and `. `") == (
        "Write <code>f(x)</code> &lt;b&gt;, `- and `. `"
    )  # fmt: skip


def test_code_at_the_end_of_an_instruction_is_shown_as_code():
    html = markup.instruction("Complete this Python code.\n\nfrom typing import List\n\ndef f():\n    pass\n")
    prose, code = html.split("<pre", 1)
    assert prose == "<p>Complete this Python code.</p>"
    assert unescape(re.sub(r"<[^>]+>", "", f"<pre{code}")) == "from typing import List\n\ndef f():\n    pass"
    assert "<pre" not in markup.instruction("Write f.\n\nfrom here on it is prose.\nclass: none")


def written(column: Column, *texts: str) -> Attempt:
    choices = tuple(TokenChoice(text, 0.5, (("<b>", 0.25), ("\n", 0.1))) for text in texts)
    done = replace(completion("".join(texts)), choices=choices)
    return Attempt(TASK, column, completion=done, code="".join(texts))


def test_tokens_are_shown_with_their_alternatives_and_the_first_that_differs_is_framed() -> None:
    first, second = written(BASELINE, "def", " f", "()"), written(TUNED, "def", " g", "()")
    assert "tokens" in dict(panes.ways([first])).values()
    assert "tokens" not in dict(panes.ways([scored(BASELINE, {})])).values()
    html = panes.grid([first, second], against="tokens")
    assert html.count('class="differs"') == 1
    assert re.search(r'<mark class="differs"><span[^>]*> g</span></mark>', html)
    assert "Differs from Baseline · regular from token 2 on" in text_of(html)
    assert "Others: “&lt;b&gt;” 25%, “⏎” 10%" in html
    same = panes.grid([first, written(TUNED, "def", " f", "()")], against="tokens")
    assert "The same tokens as Baseline · regular." in same
    shorter = panes.grid([first, written(TUNED, "def")], against="tokens")
    assert "It ends where Baseline · regular goes on." in shorter


def test_a_sample_of_an_own_dataset_is_named_after_its_function() -> None:
    task = Task(
        "Add them.", reference="import math\n\n\ndef add(a, b):\n    return a + b", sample_id="dirty/162"
    )
    assert task_label(task) == "add"
    assert task_label(replace(task, reference="x = 1")) == "dirty/162"
