"""What a comparison offers besides its answers, and what it says while the form moves on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.schema import Score
from pipeline.settings import Settings
from ui.compare import form as forms
from ui.compare.comparison import Comparison, stored_comparison
from ui.lab import Lab
from ui.views import View


def test_live_answers_offer_the_stored_ones_where_there_are_some(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    view = forms.first_view(lab.settings)
    stored = stored_comparison(lab, view)
    assert stored is not None
    assert "Show the stored answers" not in stored.draw(lab)
    live = Comparison(view, attempts=stored.attempts, running=False)
    assert "Show the stored answers" in live.draw(lab)
    elsewhere = replace(view, sample="", instruction="Add.")
    other = Comparison(elsewhere, attempts=stored.attempts, running=False)
    assert "Show the stored answers" not in other.draw(lab)


def test_the_link_to_live_answers_says_that_it_does_not_hold_them(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    view = forms.first_view(lab.settings)
    stored = stored_comparison(lab, view)
    assert stored is not None
    said = "It holds no live answers: they are written anew."
    assert said not in stored.draw(lab)
    assert said in Comparison(view, attempts=stored.attempts, running=False).draw(lab)


def test_a_live_answer_says_so_where_the_stored_one_has_another_score(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    view = forms.first_view(lab.settings)
    stored = stored_comparison(lab, view)
    assert stored is not None
    (name,) = [name for name in stored.attempts[-1].scores if name.startswith("execution")]
    assert stored.attempts[-1].scores[name].value == 1
    same = Comparison(view, attempts=stored.attempts, running=False)
    assert "The stored answer" not in same.draw(lab)
    failed = {**stored.attempts[-1].scores, name: Score(name, 0.0)}
    attempts = (*stored.attempts[:-1], replace(stored.attempts[-1], scores=failed))
    said = "The stored answer passed: this one was computed anew, and rounding can change an answer."
    assert Comparison(view, attempts=attempts, running=False).draw(lab).count(said) == 1
    assert "The stored answer" not in Comparison(view, attempts=attempts).draw(lab)


def test_a_form_that_changes_while_answers_are_written_does_not_call_them_written(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    view = forms.first_view(lab.settings)
    stored = stored_comparison(lab, view)
    assert stored is not None
    running = Comparison(view, attempts=stored.attempts)
    running.follow(replace(view, sample="another"))
    assert "since you pressed Write live: it has another task" in running.moved_message()
    running.running = False
    assert "since these answers were written: it has another task" in running.moved_message()


def test_an_augmented_prompt_without_code_says_so() -> None:
    view = View(columns=("baseline/augmented",), instruction="Add.")
    assert "no code to add" in forms.context_note(view)
    assert forms.context_note(replace(view, context="import torch")) == ""
    assert forms.context_note(replace(view, columns=("baseline/regular",))) == ""
    assert forms.context_note(View(columns=("baseline/augmented",), sample="a.py::f")) == ""
