"""The Results tab and its API, on runs made for these tests."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from gradio_client import Client

from maintenance import readme_section as readme
from pipeline.analysis import analyze, find_setups
from pipeline.analysis.reported import load_reported
from pipeline.analysis.run_cache import RunCache
from pipeline.analysis.samples import Kind
from pipeline.evaluation.store import create_run, runs_dir
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.families import get_family
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.made_up_runs import BERT, BITS, CHRF, JUDGE, bare_settings, make_run
from training.jobs.arguments import evaluation_sampling
from ui.results import charts, drilldown, report, tables
from ui.results import tab as results
from ui.results.bundle import bundle
from ui.results.presenter import Presenter

pytest_plugins = ("tests.results_page",)


# The tab


def test_the_picker_of_samples_offers_every_kind():
    assert get_args(Kind) == results.KINDS


# The API


def test_the_endpoint_is_typed_described_and_answers(url, setup):
    client = Client(url, verbose=False)
    described = client.view_api(return_format="dict")["named_endpoints"]["/results"]
    named = [each["parameter_name"] for each in described["parameters"]]
    assert named == ["setup", "metric", "left_out", "axis"]
    assert "key of an evaluation set-up" in described["parameters"][0]["python_type"]["description"]
    found = client.predict(metric=CHRF, api_name="/results")
    assert found["setup"] == setup.key
    assert [point["name"] for point in found["points"]] == ["baseline", "200", "500", "1,000", "5,000"] * 2
    assert len(found["pairs"]) == 25
    assert found["steps"][0].startswith("From baseline to 200 samples")
    left_out = client.predict(metric=CHRF, left_out=[setup.runs[0].config.sample_ids[0]], api_name="/results")
    assert {point["n"] for point in left_out["points"]} == {59}


def test_the_endpoint_names_what_it_does_not_know(url):
    client = Client(url, verbose=False)
    with pytest.raises(Exception, match=r"There are: .*CodeJudge naive"):
        client.predict(metric="nonsense", api_name="/results")
    with pytest.raises(Exception, match="no samples here"):
        client.predict(left_out=["nobody"], api_name="/results")


# Charts and tables


def test_published_figures_stand_beside_the_same_metric_and_are_labelled(own, setup):
    published = load_reported(own)
    figure = charts.curve(analyze(setup, JUDGE), [published[0]])
    assert "CodeJudge, published" in [trace.name for trace in figure.data]
    alone = charts.reported_curve(published)
    assert "Reported, not measured here" in alone.layout.legend.title.text
    assert list(alone.data[0].y) == [0.085, 0.15, 0.16, 0.18, 0.2, 0.21]


def test_the_baseline_has_its_own_place_left_of_the_log_axis_break(setup):
    figure = charts.curve(analyze(setup, CHRF))
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    assert 0 < ticks["baseline"] < figure.layout.shapes[0].x0 < ticks["200"] == 200


def test_hover_shows_the_numbers(setup):
    analysis = analyze(setup, CHRF)
    regular = next(trace for trace in charts.curve(analysis).data if trace.name == "Regular prompt")
    point = analysis.points[0]
    assert f"{point.value:.1f} (95% interval {point.low:.1f} to {point.high:.1f})" in regular.customdata[0]


def test_the_note_under_the_table_speaks_of_what_its_rows_have(tmp_path):
    def note(settings, runs):
        return tables.curve(analyze(find_setups(runs)[0], CHRF)).rpartition("</table>")[2]

    one, several = bare_settings(tmp_path / "one"), bare_settings(tmp_path / "several")
    alone = note(one, [make_run(one, 200)])
    assert "Cut off: answers that reached the token limit" in alone
    assert "baseline" not in alone
    assert "several answers" not in alone
    runs = [make_run(several, 0), make_run(several, 200), make_run(several, 200, seed=43)]
    assert "several answers" in note(several, runs)


def test_single_training_seeds_do_not_hide_their_mean(tmp_path):
    settings = bare_settings(tmp_path)
    runs = [make_run(settings, 0), make_run(settings, 200), make_run(settings, 200, seed=43)]
    mean, seeds = (
        next(trace for trace in charts.curve(analyze(find_setups(runs)[0], CHRF)).data if trace.name == name)
        for name in ("Regular prompt", "Training seeds, regular")
    )
    assert len(seeds.x) == 2
    assert min(seeds.x) > max(mean.x)


def test_variants_differ_in_color_marker_and_dash():
    looks = list(charts.LOOK.values())
    assert all(len({look[part] for look in looks}) == len(looks) for part in range(3))


def test_the_chosen_sample_s_hostile_text_is_escaped(setup):
    sample = setup.runs[0].config.sample_ids[3]
    shown = drilldown.sample(setup, sample) + drilldown.sample(setup, sample, "the reference")
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "<img" not in shown


def test_the_baseline_itself_is_shown_whole_where_others_show_their_difference_to_it(setup):
    shown = drilldown.sample(setup, setup.runs[0].config.sample_ids[0], "the baseline")
    assert shown.count('<pre class="diff"') == 8
    assert shown.count('<pre class="code"') == 2


def test_a_drill_down_lists_the_scores_in_the_order_of_every_table(tmp_path):
    """Runs store their scores in the order in which they were made, and may lack some."""
    settings, metrics = bare_settings(tmp_path), ("chrF", "parses", "bits per byte", JUDGE)
    runs = [
        make_run(settings, size, values={name: [0.5, 1.0] for name in names})
        for size, names in ((0, metrics), (200, metrics[::-1]), (500, metrics[1:3]))
    ]
    (setup,) = find_setups(runs)
    html = drilldown.sample(setup, runs[0].config.sample_ids[0])
    rows = re.findall(r'<th scope="row"><span[^>]*>([^<]*)', html)
    assert rows == ["bits per byte", "chrF", "parses", JUDGE]


def test_a_run_whose_checkpoint_is_not_here_says_so_in_its_pane_and_in_the_list(tmp_path):
    """As the shipped runs of training seed 43, whose adapters are not shipped."""
    settings = bare_settings(tmp_path)
    runs = [make_run(settings, 0), make_run(settings, 200, seed=43)]
    presenter, sample = Presenter(StoredRuns(settings)), runs[0].config.sample_ids[0]
    html = presenter.sample(presenter.runs.setup("").key, sample, "nothing", "")
    assert [pane.count("not on this machine") for pane in html.split("<section")[3:]] == [0, 1]
    shown = presenter.show("", CHRF)["runs"]
    assert "abc123, not on this machine" in shown
    assert "no adapter, not" not in shown


def test_results_opens_on_the_sampling_that_evaluations_use_by_default(tmp_path):
    """Otherwise an own checkpoint could not be compared with the shipped ones."""
    settings = Settings(tmp_path)
    first = RunCache(StoredRuns(settings)).setup("")
    assert (
        first.decoding.temperature == evaluation_sampling(get_family(settings, first.family), {}).temperature
    )


def test_the_runs_list_tells_the_unfinished(tmp_path):
    settings = bare_settings(tmp_path)
    run = make_run(settings, 200, samples=10, items=4)
    assert "4 of 10, unfinished" in tables.runs([run], ["broken: no JSON"])
    assert "Not readable: broken" in tables.runs([run], ["broken: no JSON"])


def test_results_say_which_runs_were_computed_with_int8_weights_where_others_were_not(tmp_path):
    settings = bare_settings(tmp_path)
    config = make_run(settings, 200).config
    create_run(runs_dir(settings), replace(config, engine="Qwen · bfloat16 with int8 weights · CPU"))
    presenter = Presenter(StoredRuns(settings))
    assert presenter.versions_note("") == ""
    make_run(settings, 0)
    note = Presenter(StoredRuns(settings)).versions_note("")
    assert "with int8 weights: 200" in note
    assert "baseline" not in note


# Exports


def test_csv_holds_every_score_and_leaves_out_what_it_should(setup):
    rows = list(csv.DictReader(io.StringIO(report.csv(setup))))
    assert len(rows) == 10 * 60 * 5
    assert {row["metric"] for row in rows} == {BERT, JUDGE, CHRF, BITS, "parses"}
    first = setup.runs[0].config.sample_ids[0]
    assert len(report.csv(setup, [first]).splitlines()) == 10 * 59 * 5 + 1


def test_json_holds_every_metric_and_each_run_s_config(presenter, setup):
    found = json.loads(report.json_export(presenter.runs, setup))
    assert [each["metric"] for each in found["analyses"]] == setup.metrics
    assert {run["column"] for run in found["runs"]} == {run.config.column for run in setup.runs}


def test_jsonl_holds_every_answer_with_its_scores_and_leaves_out_what_it_should(setup):
    first = setup.runs[0].config.sample_ids[0]
    lines = [json.loads(line) for line in report.answers_jsonl(setup, [first]).splitlines()]
    assert len(lines) == 10 * 59
    assert {line["column"] for line in lines} == {run.config.column for run in setup.runs}
    assert first not in {line["sample"] for line in lines}
    assert all(line["text"] and line["code"] and line["task"] for line in lines)
    assert {row["metric"] for row in lines[0]["scores"]} == {BERT, JUDGE, CHRF, BITS, "parses"}


def test_the_report_opens_with_its_contents_and_is_small(presenter, setup):
    page = report.html(presenter.runs, setup, CHRF)
    titles = re.findall(r'<a href="#part-\d+">([^<]+)</a>', page)
    assert titles[0] == CHRF
    assert titles[-1] == "Runs"
    assert all(f'<section id="part-{at}">' in page for at in range(1, len(titles) + 1))
    assert len(page) < 1_000_000
    assert "<script" not in page


def test_a_bundle_holds_every_set_up_as_files_that_need_no_server(own, setup, tmp_path, monkeypatch):
    monkeypatch.setattr("ui.results.bundle.Settings.from_env", lambda: own)
    told: list[str] = []
    made = bundle(str(tmp_path / "site"), lambda _, message: told.append(message))
    index = json.loads((tmp_path / "site" / "index.json").read_text())
    assert [each["setup"] for each in index] == made["setups"]
    assert told == [*(f"Writing {each['label']}" for each in index), "Done"]
    page = (tmp_path / "site" / "index.html").read_text()
    for name in next(each for each in index if each["setup"] == setup.key)["files"]:
        assert (tmp_path / "site" / name).stat().st_size > 1_000
        assert f'href="{name}"' in page


def test_a_bundle_that_cannot_be_written_is_refused_before_the_work(own, tmp_path, monkeypatch):
    monkeypatch.setattr("ui.results.bundle.Settings.from_env", lambda: own)
    (tmp_path / "file").write_text("")
    told: list[str] = []
    with pytest.raises(LabError, match="cannot be written"):
        bundle(str(tmp_path / "file" / "site"), lambda _, message: told.append(message))
    assert not told


def test_an_export_is_a_file_of_the_set_up_s_name(presenter, setup):
    assert Path(presenter.export("CSV", setup.key, CHRF, "")).name == f"{setup.key}.csv"


def test_an_export_does_not_write_over_another_visitors(presenter, setup):
    whole = Path(presenter.export("CSV", setup.key, CHRF, ""))
    text = whole.read_text()
    part = Path(presenter.export("CSV", setup.key, CHRF, setup.runs[0].config.sample_ids[0]))
    assert part.read_text() != text
    assert whole.read_text() == text


def test_old_exports_are_deleted(presenter, setup, monkeypatch):
    monkeypatch.setattr("ui.downloads.KEPT", 2)
    samples = setup.runs[0].config.sample_ids
    files = [Path(presenter.export("CSV", setup.key, CHRF, samples[at])) for at in range(4)]
    assert [file.exists() for file in files] == [False, False, True, True]


# The README


def test_the_readme_gets_table_and_figure_between_its_marks(own, tmp_path, monkeypatch):
    monkeypatch.setattr("maintenance.readme_section.Settings.from_env", lambda: own)
    text, figure = tmp_path / "README.md", tmp_path / "results-smollm2-135m.svg"
    text.write_text(f"before\n{readme.START}\nwhat was\n{readme.END}\nafter\n")
    metrics = f"{CHRF};{JUDGE}"
    readme.readme_section("smollm2-135m", metrics, text, tmp_path)
    written = text.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "what was" not in written
    assert written.count(" prompt**\n") == 2
    assert re.search(
        r"\| baseline \| \*\*[\d.]+\*\* \([\d.]+ to [\d.]+\) \| \*\*\.\d{3}\*\* \(\.\d{3} to \.\d{3}\)\* \|",
        written,
    )
    assert "CodeJudge naive without 3 of baseline, 3 of 200" in written
    assert "From baseline to 5,000 samples chrF (+" in written
    assert "training seeds" not in written  # each size was trained once
    assert "<svg" in figure.read_text()
    first = figure.read_bytes()
    readme.readme_section("smollm2-135m", metrics, text, tmp_path)
    assert (text.read_text(), figure.read_bytes()) == (written, first)


def test_the_readme_shows_the_three_metrics_that_lead_in_results_unless_told_otherwise(
    own, tmp_path, monkeypatch
):
    monkeypatch.setattr("maintenance.readme_section.Settings.from_env", lambda: own)
    text = tmp_path / "README.md"
    text.write_text(f"{readme.START}{readme.END}")
    readme.readme_section("smollm2-135m", readme=text, figures=tmp_path)
    assert f"| training samples | {BITS} ↓ | {BERT} ↑ | {CHRF} ↑ |" in text.read_text()


def test_a_readme_without_marks_is_left_alone(own, tmp_path, monkeypatch):
    monkeypatch.setattr("maintenance.readme_section.Settings.from_env", lambda: own)
    text = tmp_path / "README.md"
    text.write_text("nothing here")
    with pytest.raises(LabError, match="results:start"):
        readme.readme_section("smollm2-135m", readme=text, figures=tmp_path)
    assert text.read_text() == "nothing here"


def test_the_first_set_up_is_shown_in_place_of_one_that_is_gone(presenter, setup):
    shown = presenter.show("gone", "gone", "")
    assert shown["setup"].value == setup.key
    assert shown["metric"].value == setup.metrics[0]


def test_another_metric_in_place_of_one_that_the_set_up_lacks_is_said(presenter, setup):
    def said(**asked):
        shown = presenter.show(setup.key, **asked)["changed"]
        return shown.value if shown.visible else ""

    assert f"No run of this set-up has pass rate: {setup.metrics[0]} is shown." in said(metric="pass rate")
    assert "do not differ in learning rate" in said(metric=CHRF, axis="learning_rate")
    assert said(metric=CHRF) == said(metric="") == ""


def test_ids_of_another_set_up_are_counted_and_leave_nothing_out(presenter, setup):
    shown = presenter.show(setup.key, CHRF, "nobody")
    said = f"0 of {setup.samples} samples left out (1 of the ids are not in this set-up) ✕"
    assert (shown["none_left_out"].value, shown["none_left_out"].visible) == (said, True)
    assert shown["table"] == presenter.show(setup.key, CHRF)["table"]


def test_the_api_refuses_ids_that_are_no_samples(presenter, setup):
    with pytest.raises(LabError, match="no samples here"):
        presenter.results(setup.key, CHRF, ["nobody"], "")


def test_without_a_threshold_each_metric_has_its_own(presenter, setup):
    for metric in (CHRF, BITS):
        usual = presenter.show(setup.key, metric)["threshold"].placeholder
        assert presenter.matrix(setup.key, metric, "", "flips", "", None) == presenter.matrix(
            setup.key, metric, "", "flips", "", float(usual)
        )


def test_how_many_samples_are_left_out_is_said_above_all_tabs(tmp_path):
    settings = bare_settings(tmp_path)
    run = make_run(settings, 0)
    presenter, samples = Presenter(StoredRuns(settings)), run.config.sample_ids
    said = presenter.show("", CHRF, "\n".join(samples[:2]))["none_left_out"]
    assert said.value == f"2 of {len(samples)} samples left out ✕"
    assert said.visible
    assert not presenter.show("", CHRF)["none_left_out"].visible


def test_the_axis_is_offered_where_checkpoints_differ_in_more_than_size_and_everything_follows_it(tmp_path):
    settings = bare_settings(tmp_path)
    usual = {"learning_rate": 2e-3, "lora_r": 8, "epochs": 3}
    for size in (0, 200, 1000):
        make_run(settings, size, recipe=usual if size else None)
    make_run(settings, 1000, name="slow", recipe={**usual, "learning_rate": 1e-4})
    presenter = Presenter(StoredRuns(settings))
    shown = presenter.show("", CHRF)
    assert (shown["axis"].visible, shown["axis"].value) == (True, "subset_size")
    assert "differ in more than training samples: slow" in shown["explanation"]
    rates = presenter.show("", CHRF, axis="learning_rate")
    for part in ("headline", "pairs", "explanation", "table"):
        assert "1e-4" in rates[part], part
    assert list(rates["curve"].layout.xaxis.ticktext) == ["baseline", "1e-4", "0.002"]
    key = presenter.runs.setups()[0].key
    with pytest.raises(LabError, match="axes: subset_size, learning_rate, checkpoint"):
        presenter.results(key, CHRF, [], "lora_r")
    every = presenter.show("", CHRF, axis="checkpoint")
    assert list(every["curve"].layout.xaxis.ticktext) == ["baseline", "200-regular", "1000-regular", "slow"]
    assert presenter.results("", CHRF, [], "checkpoint")["points"][-1]["checkpoint"] == "slow"


def test_no_axis_is_offered_for_the_shipped_runs(tmp_path):
    shown = Presenter(StoredRuns(Settings(data_dir=tmp_path))).show("", "")
    assert not shown["axis"].visible
