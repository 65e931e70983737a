"""The README's results, made from the stored runs: ``python -m maintenance.readme_section``.

Writes tables and paragraphs for each family between the README's two ``results`` marks, and a figure for each
to ``assets/``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maintenance.figures import figure
from pipeline.analysis import Analysis, Point, Setup
from pipeline.analysis.agreement import against_execution
from pipeline.analysis.run_cache import RunCache
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.families import Family, get_family
from pipeline.schema import TRAINED_VARIANTS, VARIANTS, LabError, PromptVariant, listed
from pipeline.scoring import metric_of
from pipeline.scoring.execution.suites.suite import DATASETS
from pipeline.settings import ASSETS, Settings
from ui.labels import place_name, setup_label, size_label
from ui.numbers import mean_score
from ui.results import charts
from ui.results.against_tests import judge_sentence
from ui.results.findings import data_sentences, effect_of, effect_paragraph, effect_sentences, short_name
from ui.results.sentences import ON_HOLM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAMILIES = ("qwen2.5-coder-1.5b", "smollm2-135m")
"""The families that ship, in the order of the README."""
START, END = "<!-- results:start -->", "<!-- results:end -->"
_ROOT = ASSETS.parent


def readme_section(
    family: str = ",".join(FAMILIES),
    metric: str | None = None,
    readme: Path = _ROOT / "README.md",
    figures: Path = ASSETS,
) -> dict[str, Any]:
    """Write the README's results; it stays as it is if something is missing.

    Args:
        family: families, separated by commas
        metric: metrics, separated by semicolons; three of each set-up if none is named
        readme: the file with the two marks
        figures: folder for the figures

    Returns:
        The README's path and the families.

    Raises:
        LabError: the README has no marks, or a family has no runs.
    """
    before, after = _around_marks(readme)
    settings, families = Settings.from_env(), family.split(",")
    cache = RunCache(StoredRuns(settings))
    metrics = metric.split(";") if metric else None
    parts = [_family_part(cache, get_family(settings, name), metrics, figures) for name in families]
    text = "\n\n".join(parts)
    readme.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")
    return {"readme": str(readme), "families": families}


def _family_part(cache: RunCache, family: Family, metrics: Sequence[str] | None, figures: Path) -> str:
    """A family's section; draws its figure."""
    own = [setup for setup in cache.setups() if setup.family == family.name]
    if not own:
        raise LabError(f"No run of {family.name} is stored yet.")
    setup = next((each for each in own if each.dataset not in DATASETS), own[0])
    analyses = [cache.analysis(setup, name) for name in metrics or _metrics(setup)]
    draw(analyses, figures / f"results-{family.name}.svg")
    suites = [each for each in own if each.dataset in DATASETS and not each.decoding.temperature]
    return section(family, analyses, _executed(cache, suites))


def _executed(cache: RunCache, suites: Sequence[Setup]) -> list[Analysis]:
    order = list(DATASETS)
    in_order = sorted(suites, key=lambda setup: order.index(setup.dataset))
    return [cache.analysis(setup, setup.execution) for setup in in_order if setup.execution]


def _around_marks(readme: Path) -> tuple[str, str]:
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"{readme} cannot be read: {error}") from error
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise LabError(f"{readme} has no lines {START} and {END} to put the results between.")
    return before, after


def _metrics(setup: Setup) -> list[str]:
    """The three that lead, of different kinds."""
    return [name for name in setup.metrics if not metric_of(name).is_repeat][:3]


def section(family: Family, analyses: Sequence[Analysis], executed: Sequence[Analysis]) -> str:
    """Markdown: what was measured, a table and a paragraph for each prompt variant, and the test suites."""
    setup = analyses[0].setup
    parts = [
        f"### {family.title.partition(' (')[0]}",
        *(in_short(analysis) for analysis in executed[:1]),
        f"![Scores of {family.name} by the number of training samples](assets/results-{family.name}.svg)",
        f"`{setup.family}`{setup_label(setup).removeprefix(setup.family)}. Mean and 95% interval.",
    ]
    for variant in TRAINED_VARIANTS:
        shown = [analysis for analysis in analyses if len(analysis.curve(variant)) > 1]
        if not shown:
            continue
        parts += [f"**{variant.capitalize()} prompt**", table(shown, variant)]
        notes = (_left_out(shown, variant), _seeds(shown, variant), effect_paragraph(shown, variant))
        parts += filter(None, notes)
    if executed:
        parts += ["**Answers that pass their tests (pass@1)**", executed_table(executed)]
        parts += filter(None, [_seeds(executed)])
        parts += [_folded("What fine-tuning changes here, and how much of it is format", executed)]
        parts += filter(None, [_judged(executed)])
    return "\n\n".join(parts)


def in_short(executed: Analysis) -> str:
    """What fine-tuning changes in the share of answers that pass their tests, under each prompt variant."""
    sentences = []
    for effect in filter(None, (effect_of(executed, variant) for variant in TRAINED_VARIANTS)):
        first, last = (mean_score(each.value, executed.metric) for each in (effect.first, effect.largest))
        noise = "" if effect.whole.distinguishable else ", which cannot be distinguished from noise"
        sentences.append(
            f"With the {effect.variant} prompt, the share of answers that pass their tests goes from {first} "
            f"({place_name(effect.first)}) to {last} ({place_name(effect.largest)} training samples){noise}."
        )
        sentences += data_sentences(executed, effect)
    return f"**In short:** {' '.join(sentences)} ({executed.metric.name}, {executed.setup.samples} samples.)"


def _judged(executed: Sequence[Analysis]) -> str:
    """What the verdicts of each judge are worth by the tests, shown on a click; empty without a judge."""
    items = [
        f"- {found.metric.name}: {sentence}"
        for analysis in executed
        if (against := against_execution(analysis.setup))
        for found in against.metrics
        if (sentence := judge_sentence(analysis.metric.name, found))
    ]
    return _on_a_click("What the verdicts of a judge are worth", "\n".join(items)) if items else ""


def _folded(title: str, executed: Sequence[Analysis]) -> str:
    """What fine-tuning changes, an item for each prompt variant and test suite, shown on a click."""
    items = [
        f"- {analysis.metric.name}, {variant} prompt: {' '.join(effect_sentences(analysis, effect))}"
        for variant in TRAINED_VARIANTS
        for analysis in executed
        if (effect := effect_of(analysis, variant))
    ]
    return _on_a_click(title, "\n".join(items), ON_HOLM)


def _on_a_click(title: str, *parts: str) -> str:
    return "\n\n".join([f"<details><summary>{title}</summary>", *parts, "</details>"])


def executed_table(executed: Sequence[Analysis]) -> str:
    """A row for each prompt variant and training-set size, a column for each test suite."""
    heads = [f"{each.metric.name}, {each.setup.samples} samples" for each in executed]
    lines = [f"| prompt | training samples | {' | '.join(heads)} |", "|---" * (len(executed) + 2) + "|"]
    for variant, size in sorted(
        {(point.variant, int(point.x)) for each in executed for point in each.points},
        key=lambda row: (VARIANTS.index(row[0]), row[1]),
    ):
        points = [next((p for p in a.curve(variant) if p.x == size), None) for a in executed]
        cells = [_cell(analysis, point) for analysis, point in zip(executed, points, strict=True)]
        lines.append(f"| {variant} | {size_label(size)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(analyses: Sequence[Analysis], variant: PromptVariant) -> str:
    """A row for each training-set size, a column for each metric."""
    lines = [
        "| training samples | " + " | ".join(f"{a.metric.name} {_arrow(a)}" for a in analyses) + " |",
        "|---" * (len(analyses) + 1) + "|",
    ]
    for size in dict.fromkeys(int(point.x) for a in analyses for point in a.curve(variant)):
        points = [next((p for p in a.curve(variant) if p.x == size), None) for a in analyses]
        cells = [_cell(analysis, point) for analysis, point in zip(analyses, points, strict=True)]
        lines.append(f"| {size_label(size)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _arrow(analysis: Analysis) -> str:
    return "↑" if analysis.metric.higher_is_better else "↓"


def _cell(analysis: Analysis, point: Point | None) -> str:
    if point is None:
        return "–"
    value, low, high = (mean_score(x, analysis.metric) for x in (point.value, point.low, point.high))
    return f"**{value}** ({low} to {high}){'*' if point.unscored else ''}"


def _left_out(analyses: Sequence[Analysis], variant: PromptVariant) -> str:
    """The meaning of the table's stars; empty if it has none."""
    notes = []
    for analysis in analyses:
        outputs = [f"{p.unscored:,} of {place_name(p)}" for p in analysis.curve(variant) if p.unscored]
        if outputs:
            notes.append(f"{short_name(analysis)} without {listed(outputs)}")
    return f"\\* Outputs that could not be scored are left out: {'; '.join(notes)}." if notes else ""


def _seeds(analyses: Sequence[Analysis], variant: PromptVariant | None = None) -> str:
    """Which rows are means of several training seeds; empty if none is."""
    seeds: dict[str, set[int]] = {}
    for point in (point for each in analyses for point in each.points):
        if variant in (None, point.variant):
            row = size_label(int(point.x)) if variant else f"{point.variant} {size_label(int(point.x))}"
            seeds.setdefault(row, set()).add(len(point.by_seed))
    found = [f"{row} ({max(n)} seeds)" for row, n in seeds.items() if min(n) == max(n) > 1]
    found += [f"{row} ({min(n)} to {max(n)} seeds)" for row, n in seeds.items() if min(n) != max(n)]
    return f"Means of several training seeds: {listed(found)}." if found else ""


def draw(analyses: Sequence[Analysis], file: Path) -> None:
    """A family's figure: a small chart for each metric."""
    with figure(file, len(analyses), (4.4, 3.6), 11) as panels:
        for panel, analysis in zip(panels, analyses, strict=True):
            _panel(panel, analysis)


def _panel(panel: Axes, analysis: Analysis) -> None:
    axis = charts.axis_of(analysis)
    for variant in analysis.variants:
        color, _, dash = charts.LOOK[variant]
        points = [point for point in analysis.curve(variant) if point.n]
        panel.errorbar(
            [axis.place(point.x, variant) for point in points],
            [point.value for point in points],
            yerr=[[p.value - p.low for p in points], [p.high - p.value for p in points]],
            color=color,
            linestyle="-" if dash == "solid" else "--",
            marker="o" if dash == "solid" else "s",
            capsize=3,
            linewidth=1.6,
            label=variant,
        )
    places, names = axis.ticks()
    panel.set(xscale="log", title=f"{analysis.metric.name} {_arrow(analysis)}", xlabel="training samples")
    panel.set_xticks(places, names, rotation=30)
    panel.minorticks_off()
    panel.legend(frameon=False)


if __name__ == "__main__":
    sys.exit(run_verb(readme_section))
