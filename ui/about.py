"""The About tab: what is measured and how, and what this installation runs."""

from __future__ import annotations

import gradio as gr

from pipeline.generation.engine import ROUNDING_NOTE
from pipeline.models.families import family_problems, load_families
from pipeline.scoring import METRICS, RULE, metric_of
from pipeline.scoring.execution.suites.load import PACKAGE_SUITES, funnel_note, read_suite
from pipeline.versions import package_versions
from ui.callbacks import QUIET
from ui.callers import caller
from ui.lab import Lab
from ui.markup import escape
from ui.navigation import Navigation

_JUDGE = """
A CodeJudge score has the name of its judge, a language model, in brackets. It is an opinion: Results says
how far the judge agrees with the tests.
"""
_JUDGED = ("CodeJudge naive (…)", "CodeJudge taxonomy (…)")
_INTRO = """
## The question
How much does fine-tuning help a language model write AI research code, and how much data does it take?
One base model is compared with LoRA adapters fine-tuned on more and more samples of one dataset, on test
samples that no adapter has seen.

## How an answer is made
* **Prompt.** The *regular* prompt is the instruction. The *augmented* prompt adds the file around the
  function, without the function. If that is too long for the model, parts of the file are left out (never the
  instruction), and the pane shows how much.
* **One batch.** All answers of a comparison are written at the same time: the base model is in memory once,
  and each checkpoint is a LoRA adapter on it. Each answer has its own random numbers, which do not depend on
  the other answers. {rounding}
* **Check of adapters.** When an adapter is loaded, the app checks that it changes the model's output, and
  that the baseline's output is still that of the base model. Each pane shows the fingerprint of the adapter
  that wrote the answer.
* **Code.** {rule} The rule is the same for every column.
"""

_PROTOCOL = """
## Protocol
* Test samples: for `arxivdl`, rows of at most 1,000 characters (augmented: files of at most 5,000), 80/20
  split with seed 42, 200 test samples. `packages` is harvested from the installed deep-learning packages and
  split in the same way. Training subsets are nested: each smaller subset is the beginning of each larger one.
* Sampling: greedy for SmolLM2 and Qwen2.5-Coder, as in their stored runs; for Llama temperature 0.1,
  min-p 0.1 and seed 42.
* Training: LoRA, 3 epochs, loss on the completion only.

## Licenses
SmolLM2-135M-Instruct and Qwen2.5-Coder-1.5B-Instruct are under the Apache License 2.0,
Llama-3.1-8B-Instruct under the Llama 3.1 Community License. Each test sample of `packages` keeps the
license of the package that it comes from.
"""


def build(lab: Lab, tab: gr.Tab, navigation: Navigation) -> None:
    """Text, the table of metrics, and the state of this installation, read when the tab is opened."""
    with gr.Column(elem_classes="card reading"):
        gr.Markdown(_INTRO.format(rule=RULE, rounding=ROUNDING_NOTE))
        gr.Markdown("## Scores")
        gr.HTML(metric_table())
        gr.Markdown(_JUDGE)
        gr.Markdown(_PROTOCOL)
        gr.Markdown("## This installation")
        installation = gr.HTML()
    tab.select(lambda: describe_installation(lab), None, installation, **QUIET)
    navigation.add_tab("about")


def metric_table() -> str:
    """Every metric with its meaning, its range, and which way is better."""
    rows = "".join(
        f'<tr><th scope="row">{escape(metric.name)}</th><td>{escape(metric.description)}</td>'
        f"<td>{_range(*metric.range)}</td><td>{'higher' if metric.higher_is_better else 'lower'}</td></tr>"
        for metric in (*METRICS.values(), *map(metric_of, _JUDGED))
    )
    head = "<tr><th>Score</th><th>Meaning</th><th>Range</th><th>Better</th></tr>"
    return _table(rows, head, "ranged")


def _range(low: float, high: float) -> str:
    text = f"{low:g} to {high:g}" if high != float("inf") else f"from {low:g}"
    return text.replace("-", "−")


def describe_installation(lab: Lab) -> str:
    """Model and device, datasets with their fingerprints, folders and versions, as a table."""
    facts: list[tuple[str, str]] = []
    for family in load_families(lab.settings).values():
        facts.append((family.title, lab.status(family)[1]))
    facts += [("Base model that cannot be used", problem) for problem in family_problems(lab.settings)]
    for name, fingerprint in lab.fingerprints().items():
        facts.append((f"Dataset {name}", f"fingerprint {fingerprint}"))
    for suite in PACKAGE_SUITES:
        facts.append((f"Test suite {suite}-exec", funnel_note(read_suite(lab.settings, suite))))
    if caller(lab.settings).local:  # a stranger need not know the machine's folders
        facts.append(("Data folder", str(lab.settings.data_dir)))
    facts += [(name, version) for name, version in package_versions().items()]
    rows = "".join(f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in facts)
    return _table(rows)


def _table(rows: str, head: str = "", kind: str = "") -> str:
    table = f'<table class="facts-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide {kind}">{table}</div>'
