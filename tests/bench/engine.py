"""Tokens per second for six columns: stacked LoRA in one batch against PEFT's two ways, side by side.

Run: python -m tests.bench.engine
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipeline.generation.tokenization import encode_prompt
from pipeline.generation.torch_engine import load_engine
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, Context, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for

COLUMNS, TOKENS, ROUNDS = 6, 64, 3


def main() -> None:
    """Measure each way in turn, a few rounds, and print medians and ratios as one JSON line."""
    settings = Settings.from_env()
    family = get_family(settings, DEFAULT_FAMILY)
    base = Path(base_model_dir(settings, family))
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{100 * i}-regular" for i in range(1, COLUMNS)]
        paths = [Path(folder) / name for name in names]
        write_random_adapters(base, paths)
        ways = _ways(settings, family, base, names, paths)
        for way in ways.values():
            way()  # warm up
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                start = time.perf_counter()
                tokens = way()
                speeds[name].append(tokens / (time.perf_counter() - start))
    medians = {name: round(statistics.median(values), 1) for name, values in speeds.items()}
    stacked = medians["stacked"]
    print(
        json.dumps(
            {
                "bench": "engine",
                "tokens_per_second": medians,
                "ratio_to_adapter_names": round(stacked / medians["peft adapter_names"], 2),
                "ratio_to_one_after_another": round(stacked / medians["peft one after another"], 2),
                "columns": COLUMNS,
                "new_tokens": TOKENS,
                "threads": torch.get_num_threads(),
            }
        )
    )


def _ways(
    settings: Any, family: Any, base: Path, names: list[str], paths: list[Path]
) -> dict[str, Callable[[], int]]:
    engine = load_engine(settings, family)
    sampling = SamplingParams(temperature=0, max_new_tokens=TOKENS)
    prompt = engine.render(
        "Write a PyTorch module for scaled dot-product attention.", "regular", Context(), sampling
    ).text
    columns = [Column(Checkpoint(family.name, "baseline"), "regular")]
    for i, (name, path) in enumerate(zip(names, paths, strict=True), 1):
        columns.append(
            Column(
                Checkpoint(family.name, name, 100 * i, "regular", 42, path, None, fingerprint(path)),
                "regular",
            )
        )
    requests = [request_for(column, prompt) for column in columns]

    model = AutoModelForCausalLM.from_pretrained(base, dtype=engine.dtype).to(engine.device)
    peft_model = PeftModel.from_pretrained(model, paths[0], adapter_name=names[0])
    for name, path in zip(names[1:], paths[1:], strict=True):
        peft_model.load_adapter(path, adapter_name=name)
    peft_model.eval()
    ids = torch.tensor([encode_prompt(engine.tokenizer, prompt)], device=engine.device)
    options = {"max_new_tokens": TOKENS, "do_sample": False, "pad_token_id": engine.tokenizer.pad_token_id}

    def stacked() -> int:
        *_, last = engine.stream(requests, sampling)
        return sum(completion.tokens for completion in last)

    def adapter_names() -> int:
        rows = ids.repeat(COLUMNS, 1)
        out = peft_model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            adapter_names=["__base__", *names],
            **options,
        )
        return int((out[:, ids.shape[1] :] != options["pad_token_id"]).sum())

    def one_after_another() -> int:
        tokens = 0
        for name in [None, *names]:
            if name:
                peft_model.set_adapter(name)
                out = peft_model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
            else:
                with peft_model.disable_adapter():
                    out = peft_model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
            tokens += int((out[:, ids.shape[1] :] != options["pad_token_id"]).sum())
        return tokens

    return {
        "stacked": stacked,
        "peft adapter_names": adapter_names,
        "peft one after another": one_after_another,
    }


if __name__ == "__main__":
    main()
