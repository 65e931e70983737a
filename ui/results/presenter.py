"""What the Results tab shows, made from the stored runs; the tab itself is in ``ui.results.tab``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any, get_args

import gradio as gr

from pipeline.analysis import Setup
from pipeline.analysis import samples as by_sample
from pipeline.analysis.contamination import find_contaminated
from pipeline.analysis.reported import Reported, load_reported
from pipeline.analysis.run_cache import RunCache
from pipeline.analysis.samples import Kind
from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import find_own
from pipeline.evaluation.datasets import read_sample
from pipeline.evaluation.limits import MAX_THRESHOLD, check_number
from pipeline.evaluation.runs import Run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.evaluation.texts import count_readable
from pipeline.generation.engine import INT8
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import get_family, load_families
from pipeline.schema import FieldError, LabError
from ui import pieces
from ui.callbacks import inform
from ui.choices import first_columns
from ui.downloads import Downloads
from ui.labels import axis_choices, column_label, setup_label, setup_title, setup_titles
from ui.markup import escape
from ui.numbers import correlation
from ui.panes import Against
from ui.results import against_tests, charts, drilldown, fields, report, tables, worth
from ui.results.export import as_json
from ui.views import View

_EMPTY = """
<div class="empty"><h3>No results yet</h3>
<p>Nothing has been evaluated on this installation. To make a run, open the <b>Jobs</b> tab and evaluate a
checkpoint, or on the command line:</p>
<pre class="code">python -m training.evaluate --family smollm2-135m --subset-size baseline --prompt regular
python -m training.evaluate --family smollm2-135m --subset-size 200 --prompt regular</pre>
<p>A run is stored while it is made, and appears here before it is finished. Two checkpoints evaluated on the
same samples can be tested against each other.</p>{problems}</div>
"""


class Presenter:
    """The tab's figures, tables and exports of one installation."""

    def __init__(self, stored: StoredRuns) -> None:
        self._settings = stored.settings
        self.runs = RunCache(stored)
        self.published = load_reported(stored.settings)
        self._downloads = Downloads()

    def show(
        self,
        key: str,
        metric: str,
        left_out: str = "",
        second: str = "",
        axis: str = "subset_size",
        shown_metric: str | None = None,
    ) -> dict[str, Any]:
        """Updates of the tab's parts by name; the first set-up or metric stands in for one that is gone.

        A threshold that was typed for ``shown_metric`` is emptied where another metric is shown now.
        ``choice`` is no part, but the set-up, the metric, the samples left out and the axis that are shown.
        The tables with fields of their own are not among them: ``matrix``, ``disagreement`` and ``against``.
        """
        runs, unreadable = self.runs.stored.runs(), self.runs.stored.problems()
        setups = self.runs.setups()
        if not setups:
            problems = "".join(f'<p class="problem">Not readable: {escape(each)}</p>' for each in unreadable)
            return {
                "choice": (),
                "empty": gr.HTML(_EMPTY.format(problems=problems), visible=True),
                "body": gr.Column(visible=False),
            }
        setup = next((each for each in setups if each.key == key), setups[0])
        metrics = setup.metrics
        asked, metric = metric, fields.metric_of_setup(metric, setup)
        excluded, unknown = _left_out(setup, left_out)
        axes = setup.axes
        analysis = self.runs.analysis(setup, metric, excluded, fields.axis_of(axis, setup))
        changed = fields.said_instead(asked, metric, axis, analysis.axis)
        published = self._published(setup)
        comparable = [each for each in published if metric.startswith(each.like)]
        asked_second = second
        second = second if second in metrics and second != metric else fields.other_kind(metric, metrics)
        matrix = by_sample.sample_matrix(setup, metric, None, excluded)
        emptied: dict[str, Any] = {} if shown_metric in (None, metric) else {"value": None}
        return {
            "choice": (setup.key, metric, left_out, analysis.axis),
            "setup": fields.field(self._titles(setups), key, setup.key),
            "metric": fields.field(metrics, asked, metric),
            "axis": fields.field(axis_choices(axes), axis, analysis.axis, visible=len(axes) > 1),
            "changed": gr.HTML(pieces.note(changed), visible=bool(changed)),
            "none_left_out": gr.Button(
                f"{len(excluded):,} of {setup.samples:,} samples left out"
                + (f" ({len(unknown):,} of the ids are not in this set-up)" if unknown else "")
                + " ✕",
                visible=bool(excluded or unknown),
            ),
            "empty": gr.HTML(visible=False),
            "body": gr.Column(visible=True),
            "headline": worth.in_short(self.runs, setup, metric) + tables.answers(analysis),
            "curve": charts.curve(analysis, comparable),
            "published": gr.Plot(
                charts.reported_curve(published) if published and not comparable else None,
                visible=bool(published) and not comparable,
            ),
            "table": tables.curve(analysis),
            "explanation": tables.explanation(analysis) + worth.in_full(self.runs, metric),
            "passes": against_tests.passes(self.runs.passes(setup, excluded))
            if metric == setup.execution
            else "",
            "pairs": tables.pairs(analysis),
            "threshold": gr.Number(
                placeholder=f"{by_sample.default_threshold(metric):g}",
                visible=matrix.threshold is not None,
                **emptied,
            ),
            "second": fields.field(metrics, asked_second, second),
            "runs": tables.runs(runs, unreadable, self._absent(runs)),
        }

    def against(self, key: str, metric: str, left_out: str = "", held: str | None = None) -> dict[str, Any]:
        """Updates of the parts that hold the other metrics against the tests, by name."""
        setups = self.runs.setups()
        if not setups:
            return {}
        setup = next((each for each in setups if each.key == key), setups[0])
        agreement = self.runs.agreement(setup, _left_out(setup, left_out)[0])
        held_to = [each.metric.name for each in agreement.metrics] if agreement and agreement.attempts else []
        case = next((name for name in (held, metric, *held_to) if name in held_to), None)
        return {
            "agreement": against_tests.agreement(
                setup, agreement, [self._title(each) for each in setups if each.execution]
            ),
            "contradicted": gr.Column(visible=bool(held_to)),
            "held": fields.field(held_to, held, case),
        }

    def open(self, view: View) -> dict[str, Any]:
        """Values of the tab's choices for a view, by name; what is gone is named, and left to the tab."""
        setups = self.runs.setups()
        asked = view.setup or view.run
        found = [each for each in setups if each.key == view.setup or view.run in _ids(each)]
        if asked and not found:
            inform(f"No stored run belongs to the set-up {asked[:80]}. Another one is shown.")
        setup = next(iter(found or setups), None)
        metrics = setup.metrics if setup else []
        for name in (view.metric, view.second):
            if name and name not in metrics:
                inform(f"No run of this set-up has the metric {name[:80]}.")
        axes = setup.axes if setup else []
        if view.axis and view.axis not in axes:
            inform(f"The checkpoints of this set-up do not differ along {view.axis[:80]}.")
        return {
            "setup": gr.Dropdown(self._titles(setups), value=found[0].key) if found else gr.skip(),
            "metric": fields.chosen(view.metric, metrics),
            "axis": view.axis if view.axis in axes else "subset_size",
            "second": fields.chosen(view.second, metrics),
            "left_out": "\n".join(view.left_out),
            "kind": view.kind if view.kind in get_args(Kind) else "all",
            "search": view.search,
            "threshold": view.threshold,
        }

    def results(self, key: str, metric: str, left_out: Collection[str], axis: str) -> dict[str, Any]:
        """The same as plain data, for the API."""
        setup = self.runs.setup(key)
        metric = metric or setup.metrics[0]
        excluded, unknown = _left_out(setup, "\n".join(left_out))
        if unknown:
            raise FieldError(
                "left_out", f"has {len(unknown):,} ids that are no samples here: {min(unknown)} …"
            )
        if axis and axis not in setup.axes:
            raise FieldError("axis", f"must be one of this set-up's axes: {', '.join(setup.axes)}.")
        analysis = self.runs.analysis(setup, metric, excluded, fields.axis_of(axis, setup))
        known = [
            {
                "key": each.key,
                "label": setup_label(each),
                "metrics": each.metrics,
                "axes": each.axes,
                "columns": [run.config.column for run in each.runs],
            }
            for each in self.runs.setups()
        ]
        published = [asdict(each) for each in self._published(setup) if metric.startswith(each.like)]
        return {"setups": known, **as_json(analysis), "published": published}

    def matrix(
        self, key: str, metric: str, left_out: str, kind: Kind, search: str, threshold: float | None
    ) -> str:
        """The samples of one kind that hold every word of the search, by checkpoint.

        Without a threshold, a difference counts from a tenth of the metric's range on.
        """
        setup = self.runs.setup(key)
        metric = fields.metric_of_setup(metric, setup)
        if threshold is not None:
            threshold = check_number("threshold", threshold, 0, MAX_THRESHOLD)
        matrix = by_sample.sample_matrix(setup, metric, threshold, _left_out(setup, left_out)[0])
        sought = search.lower().split()
        shown = [
            sample
            for sample in matrix.of_kind(kind)
            if not sought or all(word in _text(setup, sample) for word in sought)
        ]
        return tables.sample_matrix(setup, matrix, metric, shown, kind)

    def sample(self, key: str, sample: str, against: Against = "nothing", run: str = "") -> str:
        """One sample under every checkpoint."""
        setup = self.runs.setup(key)
        return drilldown.sample(setup, sample, against, run, self._absent(setup.runs))

    def versions_note(self, key: str) -> str:
        """What other versions of the packages, or int8 weights in some runs, mean; empty if all are alike."""
        setup = self.runs.setup(key)
        sentences = []
        rounded = [run.config for run in setup.runs if INT8 in run.config.engine]
        if rounded and len(rounded) < len(setup.runs):
            names = ", ".join(column_label(config.as_column) for config in rounded)
            sentences.append(
                f"Computed with {INT8}: {names}. The others were not, so small differences to them can come "
                "from rounding. Evaluate them on the same machine to be sure."
            )
        if setup.matched:
            sentences.append(
                "These runs were made with different versions of the packages that the samples are from. "
                f"They are compared on the {setup.samples:,} samples that are the same in all of them."
            )
        same = count_readable(setup.runs[0])
        if same < len(setup.runs[0].attempts):
            sentences.append(
                f"{same:,} of the {setup.samples:,} samples are the same in the packages installed here. "
                "Instruction and reference of the others cannot be shown; their answers and scores are "
                "shown, and all figures count them."
            )
        return pieces.note(" ".join(sentences)) if sentences else ""

    def comparison(self, key: str, sample: str) -> View:
        """The view in Compare of a sample of a set-up.

        Raises:
            LabError: no sample is open, or Compare does not have it.
        """
        if not sample:
            raise LabError("Choose a sample in the table first.")
        setup = self.runs.setup(key)
        family = get_family(self._settings, setup.family)
        own = find_own(self._settings, setup.dataset)
        if own and own.fingerprint != setup.runs[0].config.dataset_fingerprint:
            raise LabError(
                f"The dataset {own.name} was imported again since; Compare has its samples of now."
            )
        dataset = own.name if own else ""
        if not dataset and setup.dataset != family.dataset and not read_sample(family.dataset, sample):
            raise LabError(
                f"Compare has the samples of {family.dataset}, and this one is of {setup.dataset}."
            )
        chosen = first_columns(self._settings, family)
        return View("compare", family.name, dataset, chosen, sample)

    def disagreement(self, key: str, metric: str, left_out: str, second: str) -> str:
        """How much two metrics agree, and the outputs that they rank most differently."""
        setup = self.runs.setup(key)
        metric = fields.metric_of_setup(metric, setup)
        if second == metric or second not in setup.metrics:
            return '<p class="note">Choose another metric to compare with.</p>'
        table = by_sample.disagreement(setup, metric, second, _left_out(setup, left_out)[0])
        tau = correlation(by_sample.agreement(table))
        note = (
            f"Over {len(table):,} outputs that both have scored, {metric} and {second} agree with Kendall's "
            f"tau-b {tau} (1: the same order, 0: unrelated). Below are the outputs that they rank most "
            "differently. A gap above 0 means that the first metric ranks the output higher."
        )
        return f'<p class="note">{escape(note)}</p>{tables.disagreement(setup, table, metric, second)}'

    def cases(self, key: str, left_out: str, held: str | None) -> str:
        """The attempts of which a metric says one thing and the tests say another."""
        setup = self.runs.setup(key)
        if held not in setup.metrics or not setup.execution:
            return ""
        table = by_sample.disagreement(setup, held, setup.execution, _left_out(setup, left_out)[0])
        return against_tests.cases(setup, table, held)

    def contaminated(self, key: str) -> list[str]:
        """Ids of samples whose reference is in the largest training subset or in their own context."""
        setup = self.runs.setup(key)
        contaminated = find_contaminated(self._settings, setup)
        if not contaminated:
            inform(
                f"None of the {setup.samples:,} samples is contaminated: neither the training data nor the "
                "context in the prompt holds 70% or more of a reference."
            )
        return contaminated

    def run_at(self, place: str) -> Run:
        """The run at a place of the list of runs."""
        for run in self.runs.stored.runs():
            if tables.place_of(run.config) == place:
                return run
        raise LabError("That run is not there any more. Refresh the page.")

    def config(self, place: str) -> str:
        """A run's config as JSON."""
        config = asdict(self.run_at(place).config)
        samples = config.pop("sample_ids")
        return json.dumps({**config, "sample_ids": samples}, indent=1)  # the long list last

    def export(self, kind: str, key: str, metric: str, left_out: str) -> str:
        """Write an export and return its path."""
        setup = self.runs.setup(key)
        excluded, _ = _left_out(setup, left_out)
        if kind == "CSV":
            suffix, text = "csv", report.csv(setup, excluded)
        elif kind == "JSONL":
            suffix, text = "jsonl", report.answers_jsonl(setup, excluded)
        elif kind == "JSON":
            suffix, text = "json", report.json_export(self.runs, setup, excluded)
        else:
            suffix, text = (
                "html",
                report.html(self.runs, setup, fields.metric_of_setup(metric, setup), excluded),
            )
        return self._downloads.write(setup.key, suffix, text)

    def _title(self, setup: Setup) -> str:
        return setup_title(setup, load_families(self._settings))

    def _titles(self, setups: Sequence[Setup]) -> list[tuple[str, str]]:
        titles = setup_titles(setups, load_families(self._settings))
        return list(zip(titles, (each.key for each in setups), strict=True))

    def _published(self, setup: Setup) -> Sequence[Reported]:
        """What was reported elsewhere on datasets like the set-up's."""
        return self.published if setup.dataset in BUILT_IN else ()

    def _absent(self, runs: Iterable[Run]) -> set[str]:
        """Ids of the runs whose checkpoint is neither on this machine nor on the hub."""
        families = load_families(self._settings)
        here = {
            (name, mark)
            for name, family in families.items()
            for checkpoint in list_checkpoints(self._settings, family)
            for mark in (checkpoint.fingerprint, checkpoint.name if checkpoint.path is None else "")
        }
        return {
            config.id
            for config in (run.config for run in runs)
            if not here & {(config.family, config.fingerprint), (config.family, config.checkpoint)}
        }


def _left_out(setup: Setup, ids: str) -> tuple[Collection[str], Collection[str]]:
    """The samples of the set-up that are left out, and the ids that it does not have, which change nothing.

    They can be those of another set-up, to which a visitor comes back.
    """
    wanted = {line.strip() for line in ids.splitlines() if line.strip()}
    unknown = wanted.difference(*(run.config.sample_ids for run in setup.runs))
    return wanted - unknown, unknown


def _ids(setup: Setup) -> set[str]:
    return {run.config.id for run in setup.runs}


def _text(setup: Setup, sample: str) -> str:
    """What a search looks through."""
    task = by_sample.task_at(setup, sample)
    texts = f"{task.instruction}\n{task.reference}" if task else ""
    return f"{sample}\n{texts}".lower()
