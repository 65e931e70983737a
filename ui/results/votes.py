"""What people voted for in blind comparisons: the ranking, and how far each metric agrees with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gradio as gr

from pipeline.decimals import NONE, decimal
from pipeline.evaluation.votes import VoteBox, as_jsonl, is_voter
from pipeline.models.families import load_families
from pipeline.schema import LabError, counted
from pipeline.settings import Settings
from ui.callbacks import QUIET, inform
from ui.downloads import Downloads, start_download
from ui.labels import size_text
from ui.markup import escape

if TYPE_CHECKING:  # scipy comes with it, and the page does not wait for that
    from pipeline.analysis.votes import PeopleAgreement, Ranked, VoteAnalysis
    from pipeline.stats import Estimate

_NONE_YET = (
    '<p class="note">Nobody has voted yet. In Compare, switch <b>Blind vote</b> on: the answers then stand '
    "in a random order and without names, and you choose the best one.</p>"
)
_EXPLAINED = (
    "A difference of 1.1 between two strengths means that three of four people prefer the first. Strengths "
    "are those of Bradley and Terry, and do not depend on the order of the votes. A tie is half a win for "
    "each; a vote for the best answer does not compare the others."
)
_TOO_FEW = "Strengths and intervals take five votes."
_DRAWN = {
    "voter": "The votes of one person are drawn together for the intervals.",
    "sample": "The votes on one sample are drawn together for the intervals.",
    "": "Each vote is drawn by itself for the intervals, as there are too few people and samples to draw "
    "those: the intervals do not cover other people or samples.",
}


def build(settings: Settings, votes: VoteBox, voter: gr.BrowserState, opened: Sequence[gr.Tab]) -> None:
    """The whole section; the ranking is made again whenever one of the tabs around it is opened."""
    downloads = Downloads()
    with gr.Column(elem_classes="card"):
        page = gr.HTML(elem_classes="results", elem_id="results-votes", apply_default_css=False)
        with gr.Row(elem_classes="moves"):
            export = gr.Button("Export my votes", size="sm", scale=0, min_width=150)
            delete = gr.Button("Delete my votes", size="sm", scale=0, min_width=150)
    file = gr.DownloadButton(visible="hidden", elem_id="votes-file")

    def draw() -> str:
        from pipeline.analysis.votes import analyze_votes

        analyses = analyze_votes(votes.votes())
        return "".join(_family(settings, each) for each in analyses) or _NONE_YET

    def export_mine(voter: str | None) -> str:
        mine = votes.of(voter) if voter and is_voter(voter) else []
        if not mine:
            raise LabError("There is no vote from this browser.")
        return downloads.write("my-votes", "jsonl", as_jsonl(mine))

    def delete_mine(voter: str | None) -> str:
        deleted = votes.delete(voter) if voter and is_voter(voter) else 0
        inform(f"{counted(deleted, 'vote')} of this browser deleted.")
        return draw()

    export.click(export_mine, voter, file, **QUIET).success(None, js=start_download("votes-file"))
    delete.click(delete_mine, voter, page, **QUIET)
    for tab in opened:
        tab.select(draw, None, page, **QUIET)


def _family(settings: Settings, found: VoteAnalysis) -> str:
    family = load_families(settings).get(found.family)
    title = family.title if family else found.family
    enough = any(each.strength for each in found.ranking)
    people = counted(found.voters, "browser")
    said = (
        f"{counted(found.votes, 'vote')} from {people}, {found.undecided:,} of them for a tie or that all "
        f"are bad. They compare {counted(found.pairs, 'pair')} of answers, {found.ties:,} of them tied. "
        f"{_DRAWN[found.together] if enough else _TOO_FEW}"
    )
    ranking = "".join(_ranked(place_among(found.ranking, each), each) for each in found.ranking)
    metrics = "".join(_agreement(each) for each in found.metrics)
    return (
        f"<h3>{escape(title)}</h3><p>{escape(said)}</p>"
        '<div class="wide"><table class="figures"><caption>People\'s ranking</caption><thead><tr>'
        '<th scope="col">Place</th><th scope="col">Checkpoint and prompt</th><th scope="col">Strength</th>'
        '<th scope="col">95% interval</th><th scope="col">Pairs won</th><th scope="col">lost</th>'
        f'<th scope="col">tied</th></tr></thead><tbody>{ranking}</tbody></table></div>'
        f'<p class="note">{escape(_EXPLAINED)}</p>'
        '<div class="wide"><table class="figures"><caption>Metrics held against people</caption><thead><tr>'
        '<th scope="col">Metric</th><th scope="col">Prefers what people prefer</th>'
        '<th scope="col">95% interval</th><th scope="col">Pairs</th><th scope="col">Same score</th>'
        f"</tr></thead><tbody>{metrics}</tbody></table></div>"
        '<p class="note">Of the pairs in which people prefer one answer. A pair to which the metric gives '
        "the same score counts under “Same score”, and not in the share; a coin would have 50%.</p>"
    )


def place_among(ranking: Sequence[Ranked], one: Ranked) -> str:
    """The place of one in a ranking; equal standing gives an equal place, such as ``2 =``."""
    better = sum(each.standing > one.standing for each in ranking)
    equal = sum(each.standing == one.standing for each in ranking)
    return f"{better + 1} =" if equal > 1 else f"{better + 1}"


def _ranked(place: str, ranked: Ranked) -> str:
    checkpoint, _, variant = ranked.column.partition("/")
    size, _, seed = checkpoint.partition("-")
    name = f"{size_text(size)} {seed}".strip()
    mark = f"<small>adapter {escape(ranked.fingerprint)}</small>" if ranked.fingerprint else ""
    return (
        f'<tr><td>{place}</td><th scope="row">{escape(name)} · {escape(variant)}{mark}</th>'
        f"{_figures(ranked.strength, lambda value: decimal(value, 2, True))}"
        f"<td>{ranked.wins:,}</td><td>{ranked.losses:,}</td><td>{ranked.ties:,}</td></tr>"
    )


def _agreement(found: PeopleAgreement) -> str:
    return (
        f'<tr><th scope="row">{escape(found.metric)}</th>'
        f"{_figures(found.share, lambda value: f'{value:.0%}')}"
        f"<td>{found.pairs:,}</td><td>{found.ties:,}</td></tr>"
    )


def _figures(estimate: Estimate | None, write: Callable[[float], str]) -> str:
    if estimate is None:
        return f'<td>{NONE}</td><td title="There are too few votes">{NONE}</td>'
    return f"<td>{write(estimate.value)}</td><td>{write(estimate.low)} to {write(estimate.high)}</td>"
