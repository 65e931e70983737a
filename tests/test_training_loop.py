"""The training loop of the embedded families: what it computes, and that it goes on where it stood."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from pipeline.models.families import Family
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.file_limit import files_of_at_most
from training import loop, stepper
from training.backends import load
from training.encoding import IGNORED
from training.jobs.progress import Reporter
from training.saving import save_adapter


def silent(fraction: float, message: str) -> None:
    pass


@pytest.fixture(scope="module")
def rows() -> list[loop.Row]:
    """Twelve samples of 8 to 40 tokens, of which the second half carries loss."""
    draw = random.Random(1)
    made = []
    for _ in range(12):
        ids = [draw.randrange(100, 40_000) for _ in range(draw.randrange(8, 40))]
        half = len(ids) // 2
        made.append({"input_ids": ids, "labels": [IGNORED] * half + ids[half:]})
    return made


@pytest.fixture
def small(family: Family) -> Family:
    return replace(family, batch_size=4)


def new_model(settings: Settings, family: Family):
    model, _ = load(settings, family, family.recipe, "peft", 42, silent)
    return model.float()


def lora(model) -> list[torch.Tensor]:
    return [p.detach().float().clone() for p in model.parameters() if p.requires_grad]


def train(model, rows, family: Family, work: Path, **changes):
    arguments = {"seed": 1, "resume": False, "held_out": []} | {
        name: changes.pop(name) for name in ("seed", "resume", "held_out") if name in changes
    }
    recipe = replace(family.recipe, **{"epochs": 2, **changes})
    return loop.train(model=model, rows=rows, recipe=recipe, work=work, report=Reporter(), **arguments)


def test_a_step_is_the_plain_one_of_adamw_on_the_mean_loss_of_all_tokens(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    ours, plain = new_model(short, small), new_model(short, small)
    log = train(ours, rows[:4], small, tmp_path, epochs=1)

    weights = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=small.learning_rate, weight_decay=0.0)
    longest = max(len(row["input_ids"]) for row in rows[:4])
    ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows[:4]])
    labels = [row["labels"] + [IGNORED] * (longest - len(row["labels"])) for row in rows[:4]]
    mask = torch.tensor([[1] * len(row["input_ids"]) for row in [{"input_ids": [0] * longest}] * 4])
    for index, row in enumerate(rows[:4]):
        mask[index, len(row["input_ids"]) :] = 0
    logits = plain(input_ids=ids, attention_mask=mask).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), torch.tensor(labels)[:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()

    assert log.loss == [(1, pytest.approx(float(loss), abs=1e-4))]
    for mine, theirs in zip(lora(ours), lora(plain), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-3)


def test_a_save_that_fails_midway_is_said_in_words(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    model = new_model(short, small)
    with files_of_at_most(10_000), pytest.raises(LabError, match=r"could not be saved .* Make room"):
        train(model, rows[:4], small, tmp_path, epochs=1)


def test_a_save_whose_folder_cannot_be_made_is_said_in_words(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    (tmp_path / "step-1").touch()
    with pytest.raises(LabError, match=r"could not be saved .* Make room"):
        train(new_model(short, small), rows[:4], small, tmp_path, epochs=1)


def test_an_adapter_that_cannot_be_written_whole_is_said_in_words(
    short: Settings, small: Family, tmp_path: Path
) -> None:
    model = new_model(short, small)
    with files_of_at_most(10_000), pytest.raises(LabError, match=r"could not be saved .* Solve this"):
        save_adapter(model, "a base", {}, tmp_path / "work", tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_batch_in_parts_gives_the_same_loss(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(new_model(short, small), rows, small, tmp_path / "whole", max_steps=2)
    monkeypatch.setattr(stepper, "tokens_at_once", lambda *_: 50)
    parts = train(new_model(short, small), rows, small, tmp_path / "parts", max_steps=2)
    assert [loss for _, loss in parts.loss] == pytest.approx([loss for _, loss in whole.loss], abs=2e-4)


def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    whole, first, second = (new_model(short, small) for _ in range(3))
    train(whole, rows, small, tmp_path / "whole")

    class Killed(Exception):
        pass

    class KillAtFour(Reporter):
        def __call__(self, fraction: float, message: str, **values) -> None:
            if values.get("step") == 4:
                raise Killed

    with pytest.raises(Killed):
        loop.train(
            first, rows, [], replace(small.recipe, epochs=2), 1, tmp_path / "work", KillAtFour(), False
        )
    log = train(second, rows, small, tmp_path / "work", resume=True)
    assert [step for step, _ in log.loss] == [1, 2, 3, 4, 5, 6]
    for mine, theirs in zip(lora(second), lora(whole), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.safetensors", b"cut"),
        ("state.safetensors", None),
        ("log.json", b"{"),
        ("log.json", b"[]"),
        ("log.json", b'{"step": 2}'),
        ("log.json", b'{"step": 2, "loss": 5, "held_out_loss": []}'),
    ],
)
def test_a_damaged_save_is_named_with_what_to_do(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path, file: str, content: bytes | None
) -> None:
    train(new_model(short, small), rows, small, tmp_path, max_steps=2)
    [save] = tmp_path.glob("step-*")
    if content is None:
        from safetensors.torch import save_file

        save_file({"0.weight": torch.zeros(1)}, save / file)
    else:
        (save / file).write_bytes(content)
    with pytest.raises(LabError, match=r"save in .* is damaged: .*without --resume"):
        train(new_model(short, small), rows, small, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_training_and_the_last_save_stays(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    model = new_model(short, replace(small, learning_rate=1e30))
    with pytest.raises(
        LabError, match=r"stopped at step \d of 6: the .* is (nan|inf).*save of step \d stays"
    ):
        train(model, rows, replace(small, learning_rate=1e30), tmp_path)
    assert list(tmp_path.glob("step-*/state.safetensors"))


def test_a_held_out_loss_that_is_not_finite_stops_the_training_and_nothing_of_it_is_saved(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model(short, small)
    monkeypatch.setattr(stepper.Stepper, "loss", lambda *_: float("nan"))
    with pytest.raises(LabError, match=r"stopped at step 3 of 3: the held-out loss is nan.*step 2 stays"):
        train(model, rows[:8], small, tmp_path, max_steps=3, held_out=rows[8:])


def test_the_loss_of_held_out_samples_is_measured_at_the_end(
    short: Settings, small: Family, rows: list[loop.Row], tmp_path: Path
) -> None:
    log = train(new_model(short, small), rows[:8], small, tmp_path, held_out=rows[8:])
    assert [step for step, _ in log.held_out_loss] == [4]  # on a CPU at the end only


def test_every_epoch_holds_every_sample_once_in_an_order_of_its_seed() -> None:
    rows = [{"input_ids": [index] * (index % 9 + 1), "labels": []} for index in range(50)]

    def order(seed: int) -> list[int]:
        return [row["input_ids"][0] for batch in loop.batches(rows, 4, 2, seed) for row in batch]

    assert sorted(order(1)[:50]) == sorted(order(1)[50:]) == list(range(50))
    assert order(1) == order(1) != order(2)
