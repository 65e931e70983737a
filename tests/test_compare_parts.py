"""The parts of the Compare tab without a page: columns, problems, datasets that cannot be loaded."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

from pipeline.analysis.run_cache import RunCache
from pipeline.data.own.store import keep
from pipeline.evaluation.attempts import compare
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.evaluation.tasks import task_from_instruction
from pipeline.generation.remote_engine import RemoteEngine
from pipeline.models.checkpoints import checkpoints_dir, columns
from pipeline.models.families import Family, Gguf, base_folder, get_family, load_families
from pipeline.schema import LabError, SamplingParams
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.settings import Settings
from tests.jobs_kit import until
from tests.own_data import prepared, rows, write_csv
from ui.choices import checkpoint_choices, first_columns
from ui.compare import form as forms
from ui.compare.columns import column_keys, column_note
from ui.compare.examples import buttons, read_examples, read_findings
from ui.compare.sample_place import SamplePlace, move, show_place
from ui.compare.task import open_task
from ui.lab import Lab
from ui.results.findings import effect_of
from ui.views import View


def test_columns_stand_in_the_order_of_size_however_they_were_ticked(
    settings: Settings, family: Family
) -> None:
    keys, missing = column_keys(settings, family, ["5000", "baseline", "300"], ["augmented", "regular"])
    assert keys == ["baseline/regular", "5000/regular", "baseline/augmented", "5000/augmented"]
    assert missing == ["300/regular", "300/augmented"]


def test_a_checkpoint_that_cannot_be_used_says_so_and_is_not_chosen_at_first(
    family: Family, tmp_path: Path
) -> None:
    own = Settings(tmp_path)
    folder = checkpoints_dir(own, family) / "20000-regular"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{")
    assert ("20,000 samples (cannot be used)", "20000") in checkpoint_choices(own, family)
    first = ("baseline/regular", "200/regular", "1000/regular", "10000/regular")
    assert first_columns(own, family) == first
    note = column_note(own, family.name, ["baseline", "20000"], ["regular"])
    assert "adapter_config.json is unreadable" in note


def test_the_note_says_that_the_chat_prompt_is_for_the_baseline_only(
    settings: Settings, family: Family
) -> None:
    note = column_note(settings, family.name, ["baseline", "200"], ["regular", "chat"])
    assert note == "3 answers side by side. The chat prompt is for the baseline only."


def test_a_task_that_fits_no_column_is_refused_once_and_not_in_every_pane(
    settings: Settings, family: Family
) -> None:
    engine = RemoteEngine(family, "http://127.0.0.1:9/v1")  # nothing is asked of the server
    asked = [column for key, column in columns(settings, family).items() if key.endswith("/regular")]
    with pytest.raises(LabError) as error:
        next(compare(engine, [], asked, task_from_instruction("word " * 3_000), SamplingParams()))
    assert str(error.value).count("too long") == 1


def test_a_family_that_cannot_run_here_says_so_and_the_loaded_model_stays(
    settings: Settings, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lab, large = Lab(settings), get_family(settings, "llama-3.1-8b")
    with lab.use_model(family) as model:
        pass
    state, message = lab.status(large)
    assert state == "failed"
    assert "needs a CUDA GPU, and this machine has none" in message
    with pytest.raises(LabError, match="needs a CUDA GPU"), lab.use_model(large):
        pass
    with lab.use_model(family) as again:
        assert again is model


def test_the_status_does_not_repeat_why_a_model_could_not_be_loaded(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LabError("The disk is full.")

    monkeypatch.setattr("ui.lab.open_engine", fail)
    lab = Lab(Settings(tmp_path))
    column = columns(lab.settings, family)["baseline/regular"]
    with pytest.raises(LabError, match="The disk is full"):
        list(
            lab.compare("visitor", family, [column], task_from_instruction("Write it.", ""), SamplingParams())
        )
    state, said = lab.status(family)
    assert state == "failed"
    assert "Write live tries again" in said
    assert "disk" not in said


def test_what_is_being_loaded_stops_when_the_app_ends_and_nothing_is_logged(
    family: Family, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(Settings(tmp_path))
    loading = lab.dataset(family, "regular")
    until(lambda: "reading" in loading.message)
    lab.close()
    until(lambda: loading.state == "failed", 5)  # a harvest takes longer
    assert not list(tmp_path.rglob("*.parquet"))
    assert not caplog.records


def test_a_dataset_that_cannot_be_had_says_so_until_it_is_asked_for_again(
    family: Family, tmp_path: Path
) -> None:
    lab = Lab(Settings(tmp_path, corpus_path=tmp_path / "corpus.parquet"))
    loading = lab.dataset(family, "regular")
    until(lambda: loading.state == "failed", 5)
    for _ in range(2):  # at every tick of the page's clock
        card, _, sample_id = show_place(lab, family.name, "", ["regular"], SamplePlace())
        assert "RCL_CORPUS names" in card
        assert sample_id == ""
    assert lab.dataset(family, "regular", again=True) is not loading


def test_next_and_random_lead_to_samples_with_stored_answers_first(
    settings: Settings, family: Family
) -> None:
    lab, variants = Lab(settings), ["regular"]
    loading = lab.dataset(family, "regular")
    until(lambda: loading.state == "ready", 120)
    data = loading.result()
    answered = lab.stored.sample_ids(family.name)
    there = [each for each in data.test.ids if each in answered]
    where = (lab, family.name, "", variants)
    _, place, first = show_place(*where, SamplePlace(sample=there[0]))
    assert (place.offset, first) == (0, there[0])
    *_, second = show_place(*where, move(*where, place, "Next"))
    assert second == there[1]
    for _ in range(20):
        *_, other = show_place(*where, move(*where, place, "Random"))
        assert other in answered
    *_, last = show_place(*where, move(*where, place, "Previous"))
    assert last not in answered


def test_a_view_of_a_dataset_without_a_sample_begins_with_the_first_one(tmp_path: Path) -> None:
    lab = Lab(Settings(tmp_path))
    keep(lab.settings, prepared(write_csv(tmp_path / "rows.csv", rows(40))))
    with gr.Blocks():
        form = forms.build(lab, forms.first_view(lab.settings)).task
    data = lab.dataset(get_family(lab.settings, "smollm2-135m", "mine"), "regular").result()
    updates = open_task(lab, View("compare", "smollm2-135m", "mine"), form)
    assert updates[form.sample_id] == data.test.ids[0]


def test_a_sample_stays_in_view_with_the_reason_under_a_prompt_that_its_dataset_does_not_have(
    tmp_path: Path,
) -> None:
    lab = Lab(Settings(tmp_path))
    keep(lab.settings, prepared(write_csv(tmp_path / "rows.csv", rows(40))))
    family = get_family(lab.settings, "smollm2-135m", "mine")
    for variant in ("regular", "augmented"):
        for _ in lab.dataset(family, variant).wait():
            pass
    _, place, sample = show_place(lab, family.name, "mine", ["regular"], SamplePlace(offset=1))
    card, place, still = show_place(lab, family.name, "mine", ["regular", "augmented"], place)
    assert still == sample != ""
    assert "has no files around its code" in card
    assert "2 of 7" in card
    *_, back = show_place(lab, family.name, "mine", ["regular"], place)
    assert back == sample


def test_the_page_says_how_long_the_model_takes_to_load_before_it_is_loaded(
    family: Family, tmp_path: Path
) -> None:
    lab = Lab(Settings(tmp_path))
    assert "loads when you press Write live, which takes about 30 s the first time" in lab.status(family)[1]
    assert isinstance(family.base, Gguf)
    (tmp_path / "models" / base_folder(family.name, family.base)).mkdir(parents=True)
    assert lab.status(family)[1].endswith("which takes about 15 s.")


def test_the_example_that_is_shown_is_marked_and_stays_in_another_family(settings: Settings) -> None:
    pressed = re.compile(r'data-id="([^"]*)"[^>]*aria-pressed="true"')
    first, second = "qwen2.5-coder-1.5b", "smollm2-135m"
    shown = read_examples(settings, first)[0].sample
    assert pressed.findall(buttons(settings, first, shown)) == [shown]
    assert "An example of Qwen2.5-Coder" not in buttons(settings, first, shown)
    kept = buttons(settings, second, shown)
    assert pressed.findall(kept) == [shown]
    assert "An example of Qwen2.5-Coder-1.5B-Instruct:" in kept
    assert not pressed.findall(buttons(settings, second, "another"))


def test_another_family_takes_an_example_of_its_own_in_place_of_the_shown_one(settings: Settings) -> None:
    first, second = "qwen2.5-coder-1.5b", "smollm2-135m"
    own = read_examples(settings, second)[0]
    for example in read_examples(settings, first):
        view = View("compare", first, columns=(f"baseline/{example.variant}",), sample=example.sample)
        taken = forms.for_family(settings, view, second)
        assert (taken.family, taken.sample) == (second, own.sample)
        assert all(key.endswith(f"/{own.variant}") for key in taken.columns)
    chosen = View("compare", first, columns=("baseline/regular",), sample="datasets/table.py::another")
    assert forms.for_family(settings, chosen, second).sample == chosen.sample


def test_the_first_screen_says_of_training_what_results_does(settings: Settings) -> None:
    runs = RunCache(StoredRuns(settings))
    family = next(iter(load_families(settings)))
    (setup,) = (each for each in runs.setups() if (each.family, each.dataset) == (family, "packages-exec"))
    analysis = runs.analysis(setup, EXECUTION["packages"])
    found = read_findings(settings, family)
    assert {each.variant for each in found} == {"regular", "augmented"}
    for each in found:
        measured = {p.x: round(p.value, 3) for p in analysis.points if p.variant == each.variant}
        assert each.passed == measured
        effect = effect_of(analysis, each.variant)
        assert effect
        assert each.differs == effect.whole.distinguishable
