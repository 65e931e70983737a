"""Tokens per second for six columns of the embedded family: ours, and the ways of others, in turn.

Ours is one batch for all columns. PEFT has two ways: one column after another, and a batch with
``adapter_names``. OpenVINO GenAI and llama.cpp write the base model's answer six times, one after another,
which is the least that six checkpoints need there. They run with the Python that ``RCL_BENCH_PYTHON`` names,
in whose environment ``openvino-genai`` and ``cyllama`` are installed, and are left out without it.

Run: python -m tests.bench.engine
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipeline.generation import torch_engine
from pipeline.generation.tokenization import encode_prompt
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import DEFAULT_FAMILY, Family, Gguf, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.gguf import find_gguf
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, Context, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for
from tests.bench import peers

COLUMNS, TOKENS, ROUNDS = 6, 32, 3
OURS = "ours"
_INSTRUCTION = "Write a PyTorch module for scaled dot-product attention."
_SAMPLING = SamplingParams(temperature=0, max_new_tokens=TOKENS)


def main() -> None:
    """Measure each way in turn, a few rounds, and print medians, spread and ratios as one JSON line."""
    settings = Settings.from_env()
    family = get_family(settings, DEFAULT_FAMILY)
    base = Path(base_model_dir(settings, family))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        names = [f"{100 * i}-regular" for i in range(1, COLUMNS)]
        paths = [Path(folder) / name for name in names]
        write_random_adapters(base, paths)
        ways, engine = _ways(settings, family, base, names, paths)
        prompt = engine.render(_INSTRUCTION, "regular", Context(), _SAMPLING).text
        for name in peers.PEERS:
            with suppress(EOFError):
                ways[name] = children.enter_context(_peer(name, family, prompt))
        for name, way in ways.items():
            print(f"Warming up: {name}", file=sys.stderr)
            way()
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                start = time.perf_counter()
                tokens = way()
                speeds[name].append(tokens / (time.perf_counter() - start))
    medians = {name: round(statistics.median(values), 1) for name, values in speeds.items()}
    print(
        json.dumps(
            {
                "bench": "engine",
                "engine": engine.describe(),
                "tokens_per_second": medians,
                "spread": {name: [round(min(v), 1), round(max(v), 1)] for name, v in speeds.items()},
                "ratio": {n: round(medians[OURS] / speed, 2) for n, speed in medians.items() if n != OURS},
                "not_run": [name for name in peers.PEERS if name not in ways],
                "columns": COLUMNS,
                "new_tokens": TOKENS,
                "threads": torch.get_num_threads(),
            }
        )
    )


@contextmanager
def _peer(name: str, family: Family, prompt: str) -> Iterator[Callable[[], int]]:
    """A way that lets a child process write one column after another; EOFError if there is no such child."""
    python = os.environ.get("RCL_BENCH_PYTHON")
    if not python or not isinstance(family.base, Gguf):
        raise EOFError
    file = find_gguf(family.base, Path(), from_pypi=False, report=lambda fraction, message: None)
    command = [python, peers.__file__, name, str(file), prompt, str(TOKENS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        orders, answers = child.stdin, iter(child.stdout)
        if not any(line == "ready\n" for line in answers):
            raise EOFError

        def write() -> int:
            orders.write("\n" * COLUMNS)
            orders.flush()
            return sum(int(next(answers)) for _ in range(COLUMNS))

        try:
            yield write
        finally:
            child.kill()


def _ways(
    settings: Settings, family: Family, base: Path, names: list[str], paths: list[Path]
) -> tuple[dict[str, Callable[[], int]], TorchEngine]:
    engine = load_engine(settings, family)
    with mock.patch.object(torch_engine, "find_openvino_obstacle", return_value="to compare with"):
        reference = load_engine(settings, family)
    prompt = engine.render(_INSTRUCTION, "regular", Context(), _SAMPLING).text
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

    def by(chosen: TorchEngine) -> int:
        *_, last = chosen.stream(requests, _SAMPLING)
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

    ways: dict[str, Callable[[], int]] = {OURS: lambda: by(engine)}
    if engine.device.type == "cpu":
        ways["ours on transformers"] = lambda: by(reference)
    ways["PEFT, adapter_names"] = adapter_names
    ways["PEFT, one after another"] = one_after_another
    return ways, engine


if __name__ == "__main__":
    main()
