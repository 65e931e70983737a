"""The Results tab in a real browser, on runs made for these tests."""

import re
from itertools import count
from time import sleep
from urllib.parse import urlencode

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from pipeline.settings import Settings
from tests.made_up_runs import BERT, BITS, CHRF, EXECUTION, bare_settings, make_run
from tests.results_page import page_of
from ui.results.presenter import Presenter

expect.set_options(timeout=30_000)


pytest_plugins = ("tests.results_page",)


@pytest.fixture
def browser_page(tab, url):
    tab.set_default_timeout(30_000)
    tab.goto(url)
    tab.get_by_role("tab", name="Results").click()
    tab.locator(".headline").first.wait_for()
    return tab


def test_the_curve_says_in_words_what_is_distinguishable(browser_page):
    first = browser_page.locator(".answer").first
    expect(first).to_contain_text("5,000 training samples improve the score")
    expect(first).to_contain_text("With the regular prompt these steps are")
    expect(browser_page.locator("#results-curve .js-plotly-plot .legend")).to_contain_text("Augmented prompt")
    expect(browser_page.locator(".answer").last).to_contain_text("Holm's correction over 25 pairs")


@pytest.mark.parametrize("width", [1280, 375])
def test_the_toolbar_of_a_chart_shows_on_it_alone_and_covers_no_legend(browser_page, width):
    browser_page.set_viewport_size({"width": width, "height": 900})
    chart = browser_page.locator("#results-curve .js-plotly-plot")
    bar, legend = chart.locator(".modebar"), chart.locator(".legend")
    browser_page.mouse.move(0, 0)
    expect(bar).to_have_css("opacity", "0")
    legend.scroll_into_view_if_needed()
    chart.hover()
    expect(bar).to_have_css("opacity", "1")
    expect(bar.get_by_role("button")).to_have_count(1)
    expect(bar.get_by_role("link")).to_have_count(0)
    assert bar.bounding_box()["y"] > legend.bounding_box()["y"] + legend.bounding_box()["height"]


def test_a_click_on_a_sample_opens_outputs_reference_difference_and_the_judge(browser_page):
    page = browser_page
    page.get_by_role("tab", name="Samples").click()
    rows = page.locator("#results-matrix tbody tr")
    expect(rows).to_have_count(60)
    page.locator('#results-matrix tr[data-id$="::function_3"] td').nth(1).click()
    cards = page.locator("section.pane:visible")
    expect(cards).to_have_count(11)  # the reference and ten checkpoints
    expect(cards.nth(1)).to_have_attribute("aria-label", "200 samples · regular")
    cards.nth(1).get_by_text("What CodeJudge naive (gpt-4o) said").click()
    expect(cards.nth(1)).to_contain_text("the reference. <script>")
    page.get_by_label("Difference from the reference").first.check()
    expect(page.locator("pre.diff:visible").first).to_contain_text("total")
    assert "owned" not in page.title()


def test_filter_and_search_narrow_the_samples_down(browser_page, setup):
    from pipeline.analysis.samples import sample_matrix

    page = browser_page
    page.get_by_role("tab", name="Samples").click()
    page.get_by_label("regressions").check()
    regressed = sample_matrix(setup, setup.metrics[0]).of_kind("regressions")
    expect(page.locator("#results-matrix tbody tr")).to_have_count(len(regressed))
    assert 0 < len(regressed) < 60
    page.get_by_label("all", exact=True).check()
    expect(page.locator("#results-matrix tbody tr")).to_have_count(60)
    page.get_by_label("Search").fill("function_17")
    expect(page.locator("#results-matrix tbody tr")).to_have_count(1)


def test_an_attempt_that_the_tests_contradict_opens_with_one_click(chromium, tmp_path):
    settings = bare_settings(tmp_path)
    passed = [1.0, 0.0] * 20
    scores = [60.0 + 10 * each for each in passed]
    scores[1] = 99.0
    make_run(settings, 0, dataset="humaneval", values={EXECUTION: passed, CHRF: scores})
    with page_of(settings) as url:
        tab = chromium.new_page()
        tab.goto(url)
        tab.get_by_role("tab", name="Results").click()
        tab.get_by_role("tab", name="Metrics against tests").click(timeout=30_000)
        expect(tab.locator("#results-agreement")).to_contain_text("chrF follows the tests best")
        tab.locator("#results-cases").get_by_role("button", name="function_1", exact=True).click()
        expect(tab.locator("section.pane:visible")).to_have_count(2)  # the reference and the baseline
        tab.close()


def test_what_is_held_against_the_tests_follows_the_metric(chromium, tmp_path):
    settings = bare_settings(tmp_path)
    passed = [1.0, 0.0] * 20
    values = {
        EXECUTION: passed,
        CHRF: [60.0 + at for at in range(40)],
        BERT: [at % 7 / 7 for at in range(40)],
    }
    make_run(settings, 0, dataset="humaneval", values=values)
    with page_of(settings) as url:
        tab = chromium.new_page()
        tab.goto(url)
        tab.get_by_role("tab", name="Results").click()
        tab.get_by_role("tab", name="Metrics against tests").click(timeout=30_000)
        held = tab.get_by_label("Attempts where the tests contradict")
        for name in (CHRF, BERT):
            choose_by_keyboard(tab, "Metric", name)
            expect(held).to_have_value(name)
        tab.close()


def expect_figures_of(page, name):
    expect(page.locator(".answers + .note")).to_contain_text(f"{name}: ")
    expect(page.locator("#results-curve")).to_contain_text(name)


def test_another_metric_redraws_everything(browser_page):
    page = browser_page
    page.get_by_label("Metric").click()
    page.get_by_role("option", name=BERT, exact=True).click()
    expect_figures_of(page, BERT)
    expect(page.locator("#results-published")).to_contain_text("Reported, not measured here")


def choose_by_keyboard(page, label, name):
    field = page.get_by_label(label, exact=True)
    field.click()
    field.fill(name)
    field.press("Enter")
    expect(field).to_have_value(name)


def test_a_metric_that_is_typed_redraws_everything(browser_page):
    choose_by_keyboard(browser_page, "Metric", CHRF)
    expect_figures_of(browser_page, CHRF)


def test_the_last_of_two_quick_choices_is_shown(browser_page):
    choose_by_keyboard(browser_page, "Metric", "parses")
    choose_by_keyboard(browser_page, "Metric", CHRF)
    expect_figures_of(browser_page, CHRF)
    browser_page.wait_for_timeout(2000)
    expect(browser_page.get_by_label("Metric", exact=True)).to_have_value(CHRF)
    expect_figures_of(browser_page, CHRF)


def test_a_metric_to_compare_with_that_is_typed_is_compared_with(browser_page):
    browser_page.get_by_role("tab", name="Disagreement").click()
    choose_by_keyboard(browser_page, "Compare with", "parses")
    expect(browser_page.locator("#results-disagreement")).to_contain_text("Rank by parses")


def slowly(monkeypatch, verb):
    """Let the first call of one of the presenter's verbs be slower than all that follow."""
    plain, calls = getattr(Presenter, verb), count()

    def slow(*given, **more):
        if next(calls) == 0:
            sleep(3)
        return plain(*given, **more)

    monkeypatch.setattr(Presenter, verb, slow)


@pytest.mark.parametrize("verb", ["show", "disagreement"])
def test_a_table_is_of_what_its_field_names_however_late_an_earlier_answer_comes(
    browser_page, monkeypatch, verb
):
    page = browser_page
    page.get_by_role("tab", name="Disagreement").click()
    choose_by_keyboard(page, "Compare with", BERT)
    expect(page.locator("#results-disagreement")).to_contain_text(f"Rank by {BERT}")
    slowly(monkeypatch, verb)
    choose_by_keyboard(page, "Metric", CHRF)
    choose_by_keyboard(page, "Compare with", "parses")
    page.wait_for_timeout(5000)
    expect(page.get_by_label("Compare with")).to_have_value("parses")
    for name in ("parses", CHRF):
        expect(page.locator("#results-disagreement")).to_contain_text(f"Rank by {name}")


def test_a_typed_threshold_counts_until_another_metric_is_chosen(browser_page):
    page = browser_page
    page.get_by_role("tab", name="Samples").click()
    threshold, matrix = page.get_by_label("Threshold"), page.locator("#results-matrix")
    expect(matrix.locator("tbody tr")).to_have_count(60)
    usual = matrix.inner_text()
    threshold.fill("0")
    expect(matrix).not_to_have_text(usual, use_inner_text=True)
    expect(page).to_have_url(re.compile("threshold=0"))
    choose_by_keyboard(page, "Metric", CHRF)
    expect(threshold).to_have_attribute("placeholder", "10")
    expect(threshold).to_have_value("")
    choose_by_keyboard(page, "Metric", BITS)
    expect(threshold).to_have_attribute("placeholder", "0.1")
    expect(matrix).to_have_text(usual, use_inner_text=True)


def test_samples_that_are_left_out_of_one_set_up_do_not_stop_another(chromium, tmp_path):
    settings = bare_settings(tmp_path)
    small, large = make_run(settings, 0, "augmented", samples=12), make_run(settings, 0, samples=60)
    assert not set(small.config.sample_ids) >= set(large.config.sample_ids)
    left_out = (set(large.config.sample_ids) - set(small.config.sample_ids)).pop()
    with page_of(settings) as url:
        tab = chromium.new_page()
        tab.goto(f"{url}?{urlencode({'tab': 'results', 'run': large.config.id, 'left_out': left_out})}")
        chip = tab.locator("button.chip:visible", has_text="left out")
        expect(chip).to_contain_text("1 of ")
        tab.get_by_label("Evaluation set-up").click()
        tab.get_by_role("option", selected=False).first.click()
        expect(chip).to_contain_text("0 of ")
        expect(chip).to_contain_text("1 of the ids are not in this set-up")
        tab.close()


def test_a_link_whose_sample_is_gone_keeps_its_set_up_and_section(browser_page, url, setup):
    given = {"tab": "results", "setup": setup.key, "metric": CHRF, "section": "samples", "sample": "nobody"}
    browser_page.goto(f"{url}?{urlencode(given)}")
    expect(browser_page.get_by_text("nobody").first).to_be_visible()
    expect(browser_page.locator("#results-matrix tbody tr").first).to_be_visible()
    expect(browser_page.get_by_label("Metric", exact=True)).to_have_value(CHRF)


def test_a_link_with_a_search_opens_without_an_error(browser_page, url):
    browser_page.goto(f"{url}?{urlencode({'tab': 'results', 'section': 'samples', 'search': 'function_17'})}")
    expect(browser_page.locator("#results-matrix tbody tr")).to_have_count(1)
    expect(browser_page.get_by_text("Threshold is")).to_have_count(0)


def test_one_choice_is_drawn_once_and_leaving_the_field_draws_nothing(browser_page, monkeypatch):
    page, drawn = browser_page, []
    show = Presenter.show
    monkeypatch.setattr(
        Presenter, "show", lambda *given, **more: drawn.append(given[2]) or show(*given, **more)
    )
    page.get_by_label("Metric").click()
    page.get_by_role("option", name=CHRF).click()
    expect_figures_of(page, CHRF)
    page.get_by_label("Metric").focus()
    page.get_by_label("Metric").press("Tab")
    page.wait_for_timeout(2000)
    assert drawn == [CHRF]


def test_an_address_with_a_metric_that_is_gone_opens_the_first_one_without_an_error(browser_page, url):
    browser_page.goto(f"{url}?tab=results&metric=gone&second={CHRF}")
    expect(browser_page.get_by_text("No run of this set-up has the metric gone")).to_be_visible()
    expect(browser_page.get_by_label("Metric", exact=True)).to_have_value(BITS)
    browser_page.wait_for_timeout(2000)
    expect(browser_page.get_by_text("Something went wrong")).to_have_count(0)


def test_every_set_up_of_the_menu_opens_without_an_error_whatever_metric_is_chosen(chromium, tmp_path):
    """On the shipped runs, as small ones answer before the second event of a click is sent."""
    with page_of(Settings(tmp_path)) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_role("tab", name="Results").click()
        field, metric = page.get_by_label("Evaluation set-up"), page.get_by_label("Metric", exact=True)
        expect(metric).to_have_value(shown_first := "execution (packages)")
        page.wait_for_timeout(2000)  # the fields get their choices again with what is drawn last
        field.click()
        names = [name.strip("✓ \n") for name in page.get_by_role("option").all_inner_texts()]
        without = next(name for name in names if "dataset packages" in name)
        for place, name in enumerate((without, *names)):
            if name != without or page.get_by_role("option").count() == 0:
                field.click()
            page.get_by_role("option").filter(has_text=name).click()
            expect(page.locator("#results-curve")).to_be_visible()
            page.wait_for_timeout(2500)
            expect(page.locator(".toast-body")).to_have_count(0)
            if place == 0:
                said = page.locator("#results-changed")
                expect(said).to_contain_text(f"No run of this set-up has {shown_first}")
            if name == without:
                expect(metric).not_to_have_value(shown_first)
        page.close()


def test_the_report_downloads_and_reads_offline(browser_page, chromium, tmp_path):
    browser_page.get_by_role("tab", name="Runs and export").click()
    with browser_page.expect_download() as download:
        browser_page.get_by_role("button", name="Export HTML").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    context = chromium.new_context(offline=True)
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator("svg").first).to_contain_text("Regular prompt")
    page.get_by_role("navigation", name="Contents").get_by_role("link", name=CHRF).click()
    expect(page.get_by_role("heading", name=CHRF)).to_be_in_viewport()
    assert file.stat().st_size < 2_000_000
    assert "owned" not in page.title()
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_a_run_of_ones_own_is_deleted_after_a_question(chromium, tmp_path):
    settings = bare_settings(tmp_path)
    make_run(settings, 0)
    run = make_run(settings, 200, dataset="mine", samples=8)
    shipped = make_run(settings, 1000, samples=30)
    (settings.assets / "results").mkdir()
    shipped.path.rename(settings.assets / "results" / shipped.path.name)
    with page_of(settings) as url:
        page = chromium.new_page()
        page.goto(f"{url}?tab=results&run={run.config.id}&section=runs")
        field = page.get_by_label("Evaluation set-up")
        expect(field).to_have_value(re.compile("dataset mine"))
        rows, delete = page.locator("#results-runs"), page.get_by_role("button", name="Delete this run")
        rows.get_by_role("button", name="1,000 samples").click()
        expect(page.get_by_text("came with the app and cannot be deleted")).to_be_visible()
        expect(delete).not_to_be_visible()
        rows.get_by_role("button", name="200 samples").click()
        delete.click()
        page.get_by_role("button", name="Keep it").click()
        assert run.path.exists()
        delete.click()
        page.get_by_role("button", name="Yes, delete it").click()
        expect(rows.get_by_role("button", name="200 samples")).to_have_count(0)
        expect(field).to_have_value(re.compile("dataset packages"))
        field.click()
        expect(page.get_by_role("option").filter(has_text="dataset mine")).to_have_count(0)
        assert not run.path.exists()
        page.close()


def test_an_empty_installation_says_so_and_how_to_make_a_run(chromium, tmp_path):
    with page_of(bare_settings(tmp_path)) as url:
        tab = chromium.new_page()
        tab.goto(url)
        tab.get_by_role("tab", name="Results").click()
        expect(tab.get_by_text("No results yet")).to_be_visible(timeout=30_000)
        expect(tab.get_by_text("python -m training.evaluate").first).to_be_visible()
        tab.close()
        with pytest.raises(AppError, match="No run is stored yet"):
            Client(url, verbose=False).predict(api_name="/results")
