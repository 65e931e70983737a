"""Tokens per second for some columns of a family: ours, and the ways of others, in turn.

Ours is one batch for all columns. PEFT has two ways: one column after another, and a batch with
``adapter_names``. OpenVINO GenAI and llama.cpp write the base model's answer six times, one after another,
which is the least that six checkpoints need there. They run with the Python that ``RCL_BENCH_PYTHON`` names,
in whose environment ``openvino-genai`` and ``cyllama`` are installed, and are left out without it.
PEFT and those are measured with the embedded family alone: of a large model there would be three copies.

Run: python -m tests.bench.engine [--family FAMILY] [--columns COLUMNS]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipeline.generation import Request
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

TOKENS, ROUNDS = 32, 3
OURS = "ours"
_INSTRUCTION = "Write a PyTorch module for scaled dot-product attention."
_SAMPLING = SamplingParams(temperature=0, max_new_tokens=TOKENS)


def main() -> None:
    """Measure each way in turn, a few rounds, and print medians, spread and ratios as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default=DEFAULT_FAMILY)
    parser.add_argument("--columns", type=int, default=6)
    arguments = parser.parse_args()
    settings, columns = Settings.from_env(), arguments.columns
    family = get_family(settings, arguments.family)
    base = Path(base_model_dir(settings, family))
    start, process = time.perf_counter(), psutil.Process()
    engine = load_engine(settings, family)
    load, memory = time.perf_counter() - start, process.memory_info().rss
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        names = [f"{100 * i}-regular" for i in range(1, columns)]
        paths = [Path(folder) / name for name in names]
        write_random_adapters(base, paths)
        first: dict[str, list[float]] = {}
        requests = _requests(engine, names, paths)
        ways = _ours(settings, engine, requests, first)
        prompt = requests[0].prompt
        if family.name == DEFAULT_FAMILY:
            ways |= _peft(engine, base, prompt, names, paths)
            for name in peers.PEERS:
                with suppress(EOFError):
                    ways[name] = children.enter_context(_peer(name, family, prompt, columns))
        for name, way in ways.items():
            print(f"Warming up: {name}", file=sys.stderr)
            way()
        first.clear()
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
                "first_token_seconds": {n: round(statistics.median(v), 2) for n, v in first.items()},
                "load_seconds": round(load, 1),
                "gigabytes_after_load": round(memory / 1e9, 2),
                "system_load": os.getloadavg() if hasattr(os, "getloadavg") else None,
                "not_run": [name for name in peers.PEERS if name not in ways],
                "columns": columns,
                "new_tokens": TOKENS,
                "threads": torch.get_num_threads(),
            }
        )
    )


@contextmanager
def _peer(name: str, family: Family, prompt: str, columns: int) -> Iterator[Callable[[], int]]:
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
            orders.write("\n" * columns)
            orders.flush()
            return sum(int(next(answers)) for _ in range(columns))

        try:
            yield write
        finally:
            child.kill()


def _requests(engine: TorchEngine, names: list[str], paths: list[Path]) -> list[Request]:
    """One for the baseline and for each adapter."""
    prompt = engine.render(_INSTRUCTION, "regular", Context(), _SAMPLING).text
    checkpoints = [Checkpoint(engine.family.name, "baseline")]
    for i, (name, path) in enumerate(zip(names, paths, strict=True), 1):
        checkpoints.append(
            Checkpoint(engine.family.name, name, 100 * i, "regular", 42, path, None, fingerprint(path))
        )
    return [request_for(Column(checkpoint, "regular"), prompt) for checkpoint in checkpoints]


def _ours(
    settings: Settings, engine: TorchEngine, requests: list[Request], first: dict[str, list[float]]
) -> dict[str, Callable[[], int]]:
    """Our engine, and on a CPU the one on transformers; ``first`` hears the seconds to the first token."""
    engines = {OURS: engine}
    if engine.device.type == "cpu":
        engines["ours on transformers"] = load_engine(settings, engine.family, plain="to compare with")

    def write(name: str) -> int:
        *_, last = engines[name].stream(requests, _SAMPLING)
        first.setdefault(name, []).append(max(completion.seconds_to_first for completion in last))
        return sum(completion.tokens for completion in last)

    return {name: partial(write, name) for name in engines}


def _peft(
    engine: TorchEngine, base: Path, prompt: str, names: list[str], paths: list[Path]
) -> dict[str, Callable[[], int]]:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=engine.dtype).to(engine.device)
    peft_model = PeftModel.from_pretrained(model, paths[0], adapter_name=names[0])
    for name, path in zip(names[1:], paths[1:], strict=True):
        peft_model.load_adapter(path, adapter_name=name)
    peft_model.eval()
    ids = torch.tensor([encode_prompt(engine.tokenizer, prompt)], device=engine.device)
    options = {"max_new_tokens": TOKENS, "do_sample": False, "pad_token_id": engine.tokenizer.pad_token_id}

    def adapter_names() -> int:
        rows = ids.repeat(1 + len(names), 1)
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

    return {"PEFT, adapter_names": adapter_names, "PEFT, one after another": one_after_another}


if __name__ == "__main__":
    main()
