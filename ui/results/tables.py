"""The Results tab's tables as HTML: pure functions from figures to markup, all text escaped."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations, starmap

import pandas as pd

from pipeline.analysis import Analysis, Pair, Setup
from pipeline.analysis.samples import Kind, SampleMatrix, task_at
from pipeline.evaluation.runs import Run, RunConfig
from pipeline.schema import DEFAULT_SEED, SIZE_NAME, VARIANTS, PromptVariant
from pipeline.scoring import metric_of
from ui import numbers
from ui.labels import AXIS_WORDS, axis_title, column_label, place_name, place_text, sampling_label, task_label
from ui.markup import escape
from ui.numbers import mean_score, p_value
from ui.results import sentences, table_html
from ui.results.export import curve_table
from ui.results.findings import beyond_finding, effect_of, finding, in_one_sentence

MOST_ROWS = 200
_CUT_OFF = "Cut off: answers that reached the token limit, in their code or after it."
_LONG = "Over 512 tokens: answers that the encoder of (Code)BERTScore reads in several parts."
_SEEDS = (
    "Training seeds: which ones, and the score of each where there are several. A sample then has several "
    "answers."
)


_CHANGE = {"up": "{} better", "down": "{} worse", "even": "≈ {}"}
"""In words, as an arrow up beside a minus would confuse where lower is better."""
_APART = (
    "Each of the two figures is of all samples that its checkpoint has a score of; the difference is of "
    "those that both have one of."
)


def answers(analysis: Analysis) -> str:
    """The effect of fine-tuning, a card for each prompt variant."""
    metric = analysis.metric
    summary = in_one_sentence(analysis)
    lead = f'<p class="headline">{escape(summary)}</p>' if summary else ""
    cards = "".join(_answer(analysis, variant) for variant in analysis.trained_variants)
    better = "Higher" if metric.higher_is_better else "Lower"
    note = f'<p class="note">{escape(f"{metric.name}: {metric.description} {better} is better.")}</p>'
    return f'{lead}<div class="answers">{cards}</div>{note}'


def _answer(analysis: Analysis, variant: PromptVariant) -> str:
    effect = effect_of(analysis, variant)
    title = f"<h3>{escape(variant.capitalize())} prompt</h3>"
    if effect is None:
        sentence = sentences.ONE_SIZE
        return (
            f'<section class="answer {escape(variant)}">{title}<p class="headline">{sentence}</p></section>'
        )
    ends = "<i>→</i>".join(
        f"<span><b>{mean_score(point.value, analysis.metric)}</b>{escape(place_text(point))}</span>"
        for point in (effect.first, effect.largest)
    )
    kind, _ = _outcome(effect.whole, analysis)
    change = _CHANGE[kind].format(mean_score(effect.whole.difference, analysis.metric, signed=True))
    found, more = " ".join(finding(analysis, effect)), " ".join(beyond_finding(analysis, effect))
    more = f"<p>{escape(more)}</p>" if more else ""
    apart = f'<p class="note">{_APART}</p>' if effect.apart else ""
    return (
        f'<section class="answer {escape(variant)}">{title}'
        f'<p class="ends">{ends}<em class="{kind}">{change}</em></p>'
        f'<p class="headline">{escape(found)}</p>{apart}<details><summary>More on this prompt</summary>{more}'
        f'<p class="note">{escape(sentences.headline(analysis, variant))}</p></details></section>'
    )


def explanation(analysis: Analysis) -> str:
    """Each step in words, what doubling is expected to change, the noise, and notes on the figures."""
    parts = []
    for variant in analysis.trained_variants:
        steps = [sentences.step_sentence(pair, analysis.metric) for pair in analysis.steps(variant)]
        steps.append(sentences.fit_sentence(analysis, variant))
        parts.append(table_html.folded(f"{variant.capitalize()} prompt, step by step", steps))
    if analysis.noise:
        noise = sentences.noise_sentences(analysis)
        parts.append(table_html.folded("Training noise and evaluation noise", noise))
    caveats = sentences.caveats(analysis)
    if caveats:
        parts.append(f"<h3>Notes on these figures</h3>{table_html.bullets(caveats)}")
    return "".join(parts)


def curve(analysis: Analysis) -> str:
    """The points as a table, and what those of its columns mean that say something here."""
    table = table_html.frame(
        curve_table(analysis),
        f"{analysis.metric.name} by {AXIS_WORDS[analysis.axis]}",
        row_headers=2,
    )
    points = analysis.points
    said = {
        _CUT_OFF: any(point.truncated for point in points),
        _LONG: any(point.windowed for point in points),
        _SEEDS: any(len(point.by_seed) > 1 for point in points),
    }
    note = escape(" ".join(sentence for sentence, needed in said.items() if needed))
    return f'{table}<p class="note">{note}</p>' if note else table


def pairs(analysis: Analysis) -> str:
    """A matrix of all pairs for each prompt variant, then the variants against each other."""
    parts = [_pair_matrix(analysis, variant) for variant in analysis.variants]
    for first, second in combinations(VARIANTS, 2):
        across = [p for p in analysis.pairs if (p.first.variant, p.second.variant) == (first, second)]
        if across:
            parts.append(_pairs_across(across, analysis))
    legend = (
        "Each cell shows the score of the column minus that of the row, p after Holm's correction, and on "
        "how many samples the column is better / equal / worse. ▲ better and ▼ worse at the 5% level; "
        "≈ not distinguishable, with the smallest difference that the test could detect. Point at a cell "
        "to read it as a sentence."
    )
    if not parts or not analysis.pairs:
        return '<p class="note">A pair needs two checkpoints evaluated on the same samples.</p>'
    return f'<p class="note">{legend}</p><div class="pairs">{"".join(parts)}</div>'


def _pairs_across(pairs: Sequence[Pair], analysis: Analysis) -> str:
    """A table of two prompt variants against each other, a row for each size of the first."""
    first, second = pairs[0].first.variant, pairs[0].second.variant
    against = f"{second} minus {first}" if second != "chat" else f"baseline with chat minus {first}"
    rows = "".join(
        f'<tr><th scope="row">{escape(place_name(pair.first))}</th>{_pair_cell(pair, analysis)}</tr>'
        for pair in pairs
    )
    head = f'<tr><th scope="col">{axis_title(analysis.axis)}</th><th scope="col">{escape(against)}</th></tr>'
    return table_html.table(f"{second.capitalize()} against {first} prompt", head, rows, "matrix")


def _pair_matrix(analysis: Analysis, variant: PromptVariant) -> str:
    names = [place_name(point) for point in analysis.curve(variant)]
    inside = {
        (place_name(pair.first), place_name(pair.second)): pair
        for pair in analysis.pairs
        if pair.first.variant == pair.second.variant == variant
    }
    if not inside:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names[1:])
    rows = ""
    for row in names[:-1]:
        cells = (
            _pair_cell(inside[row, column], analysis) if (row, column) in inside else "<td></td>"
            for column in names[1:]
        )
        rows += f'<tr><th scope="row">{escape(row)}</th>{"".join(cells)}</tr>'
    return table_html.table(f"{variant.capitalize()} prompt", f"<tr><td></td>{head}</tr>", rows, "matrix")


def _pair_cell(pair: Pair, analysis: Analysis) -> str:
    metric = analysis.metric
    sentence = escape(sentences.step_sentence(pair, metric))
    kind, sign = _outcome(pair, analysis)
    seen = (
        ""
        if pair.distinguishable
        else f"<small>could detect {escape(mean_score(pair.detectable, metric))}</small>"
    )
    return (
        f'<td class="{kind}" title="{sentence}"><b>{sign} {mean_score(pair.difference, metric, True)}</b>'
        f"<small>{escape(p_value(pair.p_holm))}</small>"
        f"<small>{pair.wins} / {pair.ties} / {pair.losses}</small>{seen}</td>"
    )


def _outcome(pair: Pair, analysis: Analysis) -> tuple[str, str]:
    """Whether the second is better, as a style and a sign."""
    if not pair.distinguishable:
        return "even", "≈"
    better = (pair.difference > 0) == analysis.metric.higher_is_better
    return ("up", "▲") if better else ("down", "▼")


def sample_matrix(
    setup: Setup, matrix: SampleMatrix, metric: str, shown: Sequence[str], kind: Kind, opened: str = ""
) -> str:
    """Samples by checkpoint; each row is a button that opens the sample."""
    runs = [run for run in setup.runs if run.config.id in matrix.scores.columns]
    note = f"{len(shown):,} of {len(matrix.scores):,} samples shown ({_counts(matrix)}). "
    note += "✓ yes, ✗ no" if matrix.threshold is None else "▲ better and ▼ worse than the baseline"
    note += ", ? not scored."
    if len(shown) > MOST_ROWS:
        note += f" The first {MOST_ROWS} are listed: search to narrow them down."
    if not shown:
        return f'<p class="note">{escape(note)}</p>'
    heads = "".join(
        f'<th scope="col" title="{escape(column_label(run.config.as_column))}">{_short(run.config)}</th>'
        for run in runs
    )
    rows = "".join(
        _sample_row(sample, sample_name(setup, sample), runs, matrix, metric, sample == opened)
        for sample in shown[:MOST_ROWS]
    )
    head = f'<tr><th scope="col">Sample</th>{heads}</tr>'
    return f'<p class="note">{escape(note)}</p>{table_html.tall(f"Samples, {kind}", head, rows)}'


def _counts(matrix: SampleMatrix) -> str:
    """How many samples are of each kind; the first are all samples, and regressions are some of them."""
    *parts, regressions = [(int(matrix.kinds[name].sum()), name) for name in matrix.kinds.columns]
    if rest := len(matrix.kinds) - sum(number for number, _ in parts):
        parts.append((rest, "not scored"))
    return f"{', '.join(starmap(_of_kind, parts))}; among them {_of_kind(*regressions)}"


def _of_kind(number: int, name: str) -> str:
    return f"{number:,} {name.removesuffix('s') if number == 1 else name}"


def sample_name(setup: Setup, sample: str) -> str:
    """The name of a sample's function where it has one, else its id."""
    _, inside, name = sample.rpartition("::")
    task = None if inside else task_at(setup, sample)
    return task_label(task) if task else name


def _sample_row(
    sample: str, name: str, runs: Sequence[Run], matrix: SampleMatrix, metric: str, is_open: bool
) -> str:
    current = ' aria-current="true"' if is_open else ""
    known = metric_of(metric)
    cells = ""
    for run in runs:
        state, score = matrix.states.at[sample, run.config.id], matrix.scores.at[sample, run.config.id]
        if pd.isna(score):
            kind, text = "none", "?"
        elif matrix.threshold is None:
            kind, text = ("up", "✓") if score else ("down", "✗")
            kind = "even" if known.is_opinion else kind
        else:
            kind = {1.0: "up", -1.0: "down"}.get(state, "even")
            text = {"up": "▲ ", "down": "▼ "}.get(kind, "") + mean_score(score, known)
        cells += f'<td class="{kind}" data-run="{escape(run.config.id)}">{text}</td>'
    return f'<tr data-id="{escape(sample)}"{current}>{table_html.opener(sample, name)}{cells}</tr>'


def _short(config: RunConfig) -> str:
    if not (config.is_baseline or SIZE_NAME.match(config.checkpoint)):
        return f"{escape(config.checkpoint)}<br>{escape(config.variant)}"
    size = f"{config.subset_size:,}" if config.subset_size else "baseline"
    seed = (
        f"<br>seed {escape(config.training_seed)}" if config.training_seed not in (None, DEFAULT_SEED) else ""
    )
    return f"{size}<br>{escape(config.variant)}{seed}"


def disagreement(setup: Setup, table: pd.DataFrame, first: str, second: str, most: int = 50) -> str:
    """The outputs that two metrics rank most differently."""
    labels = {run.config.id: column_label(run.config.as_column) for run in setup.runs}
    one, two = metric_of(first), metric_of(second)
    rows = ""
    for row in table.head(most).itertuples():
        cells = (
            escape(labels[row.run]),
            numbers.score(row.first, one),
            numbers.score(row.second, two),
            f"{row.rank_first:.0%}",
            f"{row.rank_second:.0%}",
            f"{100 * row.gap:+.0f}".replace("-", "−"),
        )
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        place = f'data-id="{escape(row.sample)}" data-run="{escape(row.run)}"'
        rows += f"<tr {place}>{table_html.opener(row.sample, sample_name(setup, row.sample))}{body}</tr>"
    names = ("Sample", "Checkpoint", first, second, f"Rank by {first}", f"Rank by {second}", "Gap")
    return table_html.tall("Where the two metrics disagree most", table_html.heads(names), rows, "left")


def runs(shown: Iterable[Run], unreadable: Sequence[str] = (), absent: Collection[str] = ()) -> str:
    """Every stored run with what its figures depend on; each opens to its whole config.

    ``unreadable`` says what could not be read, and ``absent`` has the ids of runs whose checkpoint is not on
    this machine.
    """
    rows = ""
    for run in sorted(shown, key=_place):
        config = run.config
        there, asked = len(run.attempts), len(config.sample_ids)
        scored = f"{there:,}" if run.complete else f"{there:,} of {asked:,}, unfinished"
        judge = ", ".join(run.judges) or "none"
        cells = (
            config.family,
            scored,
            f"{config.dataset} {config.dataset_fingerprint}",
            sampling_label(config.decoding),
            judge,
            (config.fingerprint or "no adapter") + (", not on this machine" if config.id in absent else ""),
            config.created[:16].replace("T", " "),
        )
        body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        name = escape(column_label(config.as_column))
        opener = f'<th scope="row"><button type="button">{name}</button></th>'
        rows += f'<tr data-id="{escape(place_of(config))}">{opener}{body}</tr>'
    names = (
        "Checkpoint",
        "Family",
        "Samples",
        "Dataset",
        "Sampling",
        "Judge",
        "Adapter",
        "Created (UTC)",
    )
    problems = "".join(f'<p class="problem">Not readable: {escape(each)}</p>' for each in unreadable)
    return problems + table_html.tall("Runs", table_html.heads(names), rows, "left")


def place_of(config: RunConfig) -> str:
    """A name that no other run has: the same evaluation repeated has the same id."""
    return f"{config.id} {config.created}"


def _place(run: Run) -> tuple[object, ...]:
    config = run.config
    return (
        config.family,
        config.variant == "augmented",
        math.inf if config.subset_size is None else config.subset_size,
        config.training_seed or 0,
        config.id,
    )
