"""What visitors get who ask at once: time to the first text, and tokens per second in all.

Run: python -m tests.bench.visitors
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.evaluation.datasets import load_dataset
from pipeline.generation import Request
from pipeline.generation.line import Turn
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import columns
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import Column, Context, SamplingParams
from pipeline.settings import Settings
from tests.attempts import request_for

TOKENS, COLUMNS, AT_ONCE, CROWD, CROWD_COLUMNS = 64, 6, 12, 50, 2
SAMPLES, GUESTS, SECONDS_BETWEEN = 20, 4, 5.0  # beside an evaluation
_INSTRUCTION = "Write a PyTorch module for scaled dot-product attention, as visitor number {} wants it."


@dataclass(frozen=True)
class Service:
    """How one visitor was served: seconds from the click to the first text and to the end, and tokens."""

    first: float
    whole: float
    tokens: int


def main() -> None:
    """Measure two visitors, twelve, a crowd, and some beside an evaluation; print one JSON line."""
    settings = Settings.from_env()
    family = get_family(settings, DEFAULT_FAMILY)
    engine = load_engine(settings, family)
    chosen = [column for key, column in columns(settings, family).items() if key.endswith("/regular")]
    serve = _server(engine, chosen[:COLUMNS])
    serve(0, COLUMNS)  # reads the adapters
    two = _at_once(serve, 2, COLUMNS)
    start = time.perf_counter()
    alone = [serve(visitor, 1) for visitor in range(AT_ONCE)]
    one_by_one = _speed(alone, time.perf_counter() - start)
    start = time.perf_counter()
    together = _speed(_at_once(serve, AT_ONCE, 1), time.perf_counter() - start)
    start = time.perf_counter()
    crowd = _at_once(serve, CROWD, CROWD_COLUMNS)
    seconds = time.perf_counter() - start
    evaluation = _beside_an_evaluation(settings, family, engine, serve, chosen[:COLUMNS])
    result: dict[str, Any] = {
        "bench": "visitors",
        "two_visitors_first_text_seconds": [round(each.first, 2) for each in two],
        "twelve_visitors_tokens_per_second": {"together": together, "one_after_another": one_by_one},
        "ratio_to_one_after_another": round(together / one_by_one, 2),
        "crowd_first_text_seconds": _spread([each.first for each in crowd]),
        "crowd_whole_seconds": _spread([each.whole for each in crowd]),
        "crowd_tokens_per_second": _speed(crowd, seconds),
        "crowd": [CROWD, CROWD_COLUMNS],
        "beside_an_evaluation": evaluation,
        "new_tokens": TOKENS,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


def _beside_an_evaluation(
    settings: Settings,
    family: Family,
    engine: TorchEngine,
    serve: Callable[[int, int], Service],
    chosen: list[Column],
) -> dict[str, Any]:
    """An evaluation alone, and again beside visitors who come one after another."""
    sampling = SamplingParams(temperature=0, max_new_tokens=TOKENS)
    samples = load_dataset(settings, family.dataset).evaluation(SAMPLES)
    prompts = [engine.render(each.prompt, "regular", Context(), sampling).text for each in samples]
    requests = [request_for(column, prompt) for prompt in prompts for column in chosen]

    def evaluate() -> float:
        start = time.perf_counter()
        for _ in engine.stream(requests, sampling, Turn()):
            pass
        return time.perf_counter() - start

    alone, seconds, served = evaluate(), [], []
    evaluation = threading.Thread(target=lambda: seconds.append(evaluate()))
    evaluation.start()
    time.sleep(SECONDS_BETWEEN)
    while evaluation.is_alive() and len(served) < GUESTS:
        served.append(serve(len(served), COLUMNS))
        time.sleep(SECONDS_BETWEEN)
    evaluation.join()
    return {
        "samples": SAMPLES,
        "columns": COLUMNS,
        "first_text_seconds": [round(each.first, 2) for each in served],
        "evaluation_seconds": {"alone": round(alone, 1), "beside": round(seconds[0], 1)},
        "slower": round(seconds[0] / alone - 1, 3),
    }


def _server(engine: TorchEngine, chosen: list[Column]) -> Callable[[int, int], Service]:
    sampling = SamplingParams(temperature=0, max_new_tokens=TOKENS)

    def requests(visitor: int, number: int) -> list[Request]:
        prompt = engine.render(_INSTRUCTION.format(visitor), "regular", Context(), sampling).text
        return [request_for(chosen[(visitor + at) % len(chosen)], prompt) for at in range(number)]

    def serve(visitor: int, number: int) -> Service:
        start, first = time.perf_counter(), 0.0
        for completions in engine.stream(requests(visitor, number), sampling, Turn(str(visitor))):
            if not first and any(completion.text for completion in completions):
                first = time.perf_counter() - start
        tokens = sum(completion.tokens for completion in completions)
        return Service(first, time.perf_counter() - start, tokens)

    return serve


def _at_once(serve: Callable[[int, int], Service], visitors: int, number: int) -> list[Service]:
    services: list[Service] = []
    threads = [
        threading.Thread(target=lambda visitor=visitor: services.append(serve(visitor, number)))
        for visitor in range(visitors)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(services) == visitors
    return services


def _speed(services: list[Service], seconds: float) -> float:
    return round(sum(service.tokens for service in services) / seconds, 1)


def _spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=20)
    return {"median": round(statistics.median(values), 2), "p95": round(cuts[18], 2)}


if __name__ == "__main__":
    main()
