"""The running batch and its scheduler, in fp32 on the first layers of the embedded model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.generation import Request, line, scheduler
from pipeline.generation.adapters import AdapterStack
from pipeline.generation.decoders import TransformersDecoder
from pipeline.generation.line import Line, Turn
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.sampling import uniform_draws
from pipeline.generation.scheduler import Scheduler
from pipeline.generation.tokenization import encode_prompt
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import Family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, Completion, Context, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for
from tests.jobs_kit import until
from tests.random_models import make_model
from tests.rows import run_rows, write_out

GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
WARM = SamplingParams(temperature=0.9, min_p=0.05, max_new_tokens=12, seed=7)
INSTRUCTIONS = ("Sort a list.", "Write a class that normalizes the last dimension of a tensor. " * 6, "Add.")


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


@pytest.fixture(scope="module")
def columns(short: Settings, family: Family, tmp_path_factory: pytest.TempPathFactory) -> list[Column]:
    """The baseline and two checkpoints."""
    root = tmp_path_factory.mktemp("adapters")
    paths = [root / "200-regular", root / "500-regular"]
    write_random_adapters(Path(base_model_dir(short, family)), paths, strength=0.2)
    adapters = [
        Checkpoint(family.name, path.name, size, "regular", 42, path, None, fingerprint(path))
        for path, size in zip(paths, (200, 500), strict=True)
    ]
    return [Column(each, "regular") for each in (Checkpoint(family.name, "baseline"), *adapters)]


def make_rows(
    engine: TorchEngine, columns: Sequence[Column], sampling: SamplingParams, number: int = 3
) -> list[Row]:
    """Rows of different lengths, under different adapters."""
    from pipeline.generation.adapters import read_adapter

    rows = []
    for at in range(number):
        column, prompt = columns[at % len(columns)], INSTRUCTIONS[at // 2 % len(INSTRUCTIONS)] + str(at)
        adapter = (
            None
            if column.checkpoint.is_baseline
            else read_adapter(column.checkpoint, engine.family, engine.stack.layers)
        )
        draws = uniform_draws(sampling.seed, prompt, sampling.max_new_tokens)
        rows.append(Row(encode_prompt(engine.tokenizer, prompt), adapter, sampling, draws))
    return rows


def new_batch(engine: TorchEngine, piece_tokens: int = 256) -> RunningBatch:
    decoder = TransformersDecoder(engine.model, engine.stack)
    return RunningBatch(decoder, [engine.tokenizer.eos_token_id], piece_tokens)


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
def test_a_row_writes_the_same_alone_and_beside_eleven_others(
    engine: TorchEngine, columns: list[Column], sampling: SamplingParams
) -> None:
    alone = [run_rows(new_batch(engine), row)[0] for row in make_rows(engine, columns, sampling, 12)]
    assert run_rows(new_batch(engine), *make_rows(engine, columns, sampling, 12)) == alone
    assert len({tuple(tokens) for tokens in alone}) > 6


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
@torch.inference_mode()
def test_a_row_that_joins_late_writes_what_it_writes_alone(
    engine: TorchEngine, columns: list[Column], sampling: SamplingParams
) -> None:
    alone = [run_rows(new_batch(engine), row)[0] for row in make_rows(engine, columns, sampling, 6)]
    batch, rows = new_batch(engine, piece_tokens=16), make_rows(engine, columns, sampling, 6)
    for row in rows:  # long ones after short ones, and the other way round
        batch.add([row])
        for _ in range(3):
            batch.step()
    assert write_out(batch, rows) == alone


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
@torch.inference_mode()
def test_the_odds_of_a_rows_tokens_are_the_models_own(
    engine: TorchEngine, columns: list[Column], sampling: SamplingParams
) -> None:
    rows = make_rows(engine, columns[:1], sampling)
    rows[0].odds = []
    run_rows(new_batch(engine), *rows)
    watched, tokens = rows[0], rows[0].tokens
    engine.stack.assign([None])
    logits = engine.model(torch.tensor([watched.prompt + tokens])).logits[0, len(watched.prompt) - 1 :]
    probabilities = logits.softmax(-1)
    for token, odds, expected in zip(tokens, watched.odds, probabilities, strict=False):
        assert odds[0] == (token, pytest.approx(float(expected[token]), rel=1e-3))
        best = [each for each in expected.topk(5).indices.tolist() if each != token][:4]
        assert [each for each, _ in odds[1:]] == best
    assert rows[1].odds is None


def test_prompts_read_in_pieces_give_the_same_text(engine: TorchEngine, columns: list[Column]) -> None:
    whole = run_rows(new_batch(engine, piece_tokens=10_000), *make_rows(engine, columns, GREEDY, 6))
    assert run_rows(new_batch(engine, piece_tokens=1), *make_rows(engine, columns, GREEDY, 6)) == whole


@torch.inference_mode()
def test_prompts_of_several_visitors_are_read_together_as_far_as_a_piece_has_room(
    engine: TorchEngine, columns: list[Column]
) -> None:
    alone = [run_rows(new_batch(engine), row)[0] for row in make_rows(engine, columns, GREEDY)]
    batch, rows = new_batch(engine, piece_tokens=40), make_rows(engine, columns, GREEDY)
    for row in rows:
        batch.add([row])
    batch.step()
    assert [len(row.tokens) for row in rows] == [1, 1, 0]  # the third one's prompt is long
    assert write_out(batch, rows) == alone


@torch.inference_mode()
def test_rows_go_on_while_a_long_prompt_is_read(engine: TorchEngine, columns: list[Column]) -> None:
    batch = new_batch(engine, piece_tokens=8)
    short, long = make_rows(engine, columns, GREEDY, 4)[::3]
    batch.add([short])
    while not short.tokens:
        batch.step()
    batch.add([long])
    before = len(short.tokens)
    batch.step()
    assert len(short.tokens) == before + 1
    assert batch.reads


@torch.inference_mode()
def test_a_row_that_is_ended_while_its_prompt_is_read_leaves_the_others_as_they_are(
    engine: TorchEngine, columns: list[Column]
) -> None:
    alone = [run_rows(new_batch(engine), row)[0] for row in make_rows(engine, columns, GREEDY, 4)]
    batch, rows = new_batch(engine, piece_tokens=32), make_rows(engine, columns, GREEDY, 4)
    batch.add(rows)
    batch.step()
    longest = max(rows, key=lambda row: len(row.prompt))
    longest.finish_reason = "cancelled"
    write_out(batch, rows)
    assert not longest.tokens
    kept = [at for at, row in enumerate(rows) if row is not longest]
    assert [rows[at].tokens for at in kept] == [alone[at] for at in kept]


def test_each_row_has_its_own_limit_and_reason(engine: TorchEngine, columns: list[Column]) -> None:
    rows = make_rows(engine, columns, GREEDY, 3)
    rows[1].sampling = replace(GREEDY, max_new_tokens=1)
    rows[2].sampling = replace(GREEDY, max_new_tokens=5)
    written = run_rows(new_batch(engine), *rows)
    assert [len(tokens) for tokens in written][1:] == [1, 5]
    assert [row.finish_reason for row in rows][1:] == ["length", "length"]


LONG = replace(GREEDY, max_new_tokens=400)


@pytest.fixture
def batch(engine: TorchEngine) -> RunningBatch:
    """No token ends a row."""
    return RunningBatch(TransformersDecoder(engine.model, engine.stack), [], piece_tokens=256)


def news(stream: Iterator[None], number: int) -> None:
    for _ in range(number):
        next(stream)


def test_a_reader_who_closes_the_iterator_frees_the_rows_within_a_second(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    shared = Scheduler(batch, Line(12))
    stream = shared.stream(make_rows(engine, columns, LONG), Turn("ann"))
    other = shared.stream(kept := make_rows(engine, columns, LONG, 2), Turn("bob"))
    news(stream, 3), news(other, 3)
    until(lambda: len(batch.rows) == 5)
    stream.close()
    until(lambda: batch.rows == kept, 1)
    assert shared.line.place() is None
    other.close()
    until(lambda: not batch.rows, 1)


def test_who_leaves_frees_the_rows_and_keeps_what_was_written(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    turn, rows = Turn("ann"), make_rows(engine, columns, LONG)
    for _ in Scheduler(batch, Line(12)).stream(rows, turn):
        if all(row.tokens for row in rows):
            turn.leaving.set()
    assert {row.finish_reason for row in rows} == {"cancelled"}
    assert all(0 < len(row.tokens) < 400 for row in rows)
    until(lambda: not batch.rows, 1)


def test_rows_that_nobody_reads_leave(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "UNREAD_SECONDS", 0.5)
    shared, rows = Scheduler(batch, Line(12)), make_rows(engine, columns, replace(LONG, max_new_tokens=4000))
    stream = shared.stream(rows, Turn("ann"))
    news(stream, 2)
    until(lambda: bool(batch.rows))
    until(lambda: not batch.rows, 2)
    assert {row.finish_reason for row in rows} == {"cancelled"}
    assert shared.line.place() is None


def test_rows_end_at_their_deadline_and_a_note_says_so(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "DEADLINE_SECONDS", 0.3)
    rows = make_rows(engine, columns, replace(LONG, max_new_tokens=4000))
    for _ in Scheduler(batch, Line(12)).stream(rows, Turn("ann")):
        pass
    assert {row.finish_reason for row in rows} == {"cancelled"}
    assert all("It was ended after" in row.note for row in rows)


def test_who_waits_sees_the_place_and_starts_when_there_is_room(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    shared, first, second = Scheduler(batch, Line(3)), Turn("ann"), Turn("bob")
    running = shared.stream(make_rows(engine, columns, LONG), first)
    news(running, 3)
    waiting = shared.stream(rows := make_rows(engine, columns, GREEDY), second)
    next(waiting)
    assert second.place
    assert second.place.number == 1
    assert first.place is None
    running.close()
    for _ in waiting:
        pass
    assert second.place is None
    assert {row.finish_reason for row in rows} == {"length"}


def test_an_evaluation_leaves_room_for_a_comparison_and_takes_no_more_while_a_person_waits(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    shared = Scheduler(batch, Line(16))
    many = make_rows(engine, columns, replace(LONG, max_new_tokens=40), 8)
    evaluation = threading.Thread(target=lambda: list(shared.stream(many, Turn())))
    evaluation.start()
    until(lambda: bool(batch.rows))
    most = 0
    person = make_rows(engine, columns, GREEDY, 12)
    for _ in shared.stream(person, turn := Turn("ann")):
        assert turn.place is None
        most = max(most, sum(row in many for row in batch.rows))
    assert {row.finish_reason for row in person} == {"length"}
    assert 0 < most <= 4
    evaluation.join(120)
    assert {row.finish_reason for row in many} == {"length"}


def test_beside_many_rows_the_prompts_of_an_evaluation_are_read_together() -> None:
    class Recorded(RunningBatch):
        def add(self, rows: Sequence[Row]) -> None:
            groups.append(len(rows))
            super().add(rows)

    groups: list[int] = []
    model = make_model("llama")
    batch = Recorded(TransformersDecoder(model, AdapterStack(model)), [], 256)
    rows = [Row([7], None, SamplingParams(0, max_new_tokens=2 + at % 29)) for at in range(150)]
    for _ in Scheduler(batch, Line(60)).stream(rows, Turn()):
        pass
    assert {row.finish_reason for row in rows} == {"length"}
    assert sum(groups) == 150
    assert min(groups[:-1]) >= 3


def test_an_evaluation_takes_the_longest_rows_first(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    rows = make_rows(engine, columns, GREEDY, 6)
    for _ in Scheduler(batch, Line(14)).stream(rows, Turn()):
        pass
    began = sorted(rows, key=lambda row: row.started)
    assert len(began[0].prompt) == max(len(row.prompt) for row in rows)


def test_everybody_hears_of_a_model_that_fails_and_the_next_one_is_served(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Scheduler(batch, Line(12))
    with monkeypatch.context() as patch:
        patch.setattr(batch, "step", lambda: 1 / 0)
        for visitor in ("ann", "bob"):
            with pytest.raises(ZeroDivisionError):
                list(shared.stream(make_rows(engine, columns, GREEDY), Turn(visitor)))
    rows = make_rows(engine, columns, GREEDY)
    list(shared.stream(rows, Turn("ann")))
    assert {row.finish_reason for row in rows} == {"length"}


def test_other_work_runs_between_two_steps_and_its_errors_reach_who_asked(
    engine: TorchEngine, columns: list[Column], batch: RunningBatch
) -> None:
    shared = Scheduler(batch, Line(12))
    stream = shared.stream(make_rows(engine, columns, LONG), Turn("ann"))
    news(stream, 2)
    assert shared.compute(threading.current_thread().name for _ in range(3)) == ["model_0"] * 3
    with pytest.raises(ZeroDivisionError):
        shared.compute(1 // at for at in (1, 0))
    stream.close()


def together(
    engine: TorchEngine, asked: dict[str, tuple[list[Request], SamplingParams]]
) -> dict[str, list[Completion]]:
    """What each visitor gets when all ask at once."""
    got: dict[str, list[Completion]] = {}

    def ask(visitor: str) -> None:
        requests, sampling = asked[visitor]
        *_, got[visitor] = engine.stream(requests, sampling, Turn(visitor))

    threads = [threading.Thread(target=ask, args=(visitor,)) for visitor in asked]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(60)
    return got


def test_visitors_who_differ_in_everything_get_at_once_what_each_gets_alone(
    engine: TorchEngine, columns: list[Column]
) -> None:
    def ask(chosen: Sequence[Column], instruction: str, sampling: SamplingParams) -> list[Request]:
        prompt = engine.render(instruction, "regular", Context(), sampling).text
        return [request_for(column, prompt) for column in chosen]

    long = replace(GREEDY, max_new_tokens=40)
    hot = SamplingParams(temperature=0.9, min_p=0.05, max_new_tokens=25, seed=3)
    asked = {
        "ann": (ask(columns, INSTRUCTIONS[1], long), long),
        "bob": (ask(columns[::-1][:2], INSTRUCTIONS[0], hot), hot),
        "cem": (ask(columns[1:], INSTRUCTIONS[0], replace(hot, seed=4)), replace(hot, seed=4)),
    }
    alone = {name: list(engine.stream(*asked[name], Turn(name)))[-1] for name in asked}
    for _ in range(3):
        got = together(engine, asked)
        for name, completions in got.items():
            assert [each.text for each in completions] == [each.text for each in alone[name]]
            assert [each.finish_reason for each in completions] == [e.finish_reason for e in alone[name]]
            expected = [request.checkpoint.fingerprint for request in asked[name][0]]
            assert [each.fingerprint for each in completions] == expected
