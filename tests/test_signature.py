"""What the command line, the forms and the API have in common: the signatures of the verbs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.command_line.signature import Parameter, Verb, job_parameters, parameters, validate
from pipeline.evaluation.runs import repeat_command
from pipeline.evaluation.store import load_run
from pipeline.models.families import get_family
from pipeline.schema import FieldError, LabError, SamplingParams
from pipeline.settings import ASSETS, Settings
from tests.jobs_kit import ROOT, local_runner
from training.jobs import Runner
from training.jobs.arguments import evaluated_column, evaluation_sampling
from training.sweep import VERBS
from ui.api.jobs import submission
from ui.jobs.forms import labelled

SUBMITTED = [
    (kind, parameter)
    for kind, verb in VERBS.items()
    for parameter in job_parameters(verb)
    if parameter.kind in (int, float)
]


@pytest.mark.parametrize(("kind", "verb"), VERBS.items())
def test_every_parameter_of_a_verb_is_described(kind: str, verb: Verb) -> None:
    assert [parameter.name for parameter in parameters(verb) if not parameter.help] == []


@pytest.mark.parametrize(("kind", "parameter"), SUBMITTED, ids=lambda value: getattr(value, "name", value))
def test_a_number_is_converted_from_whatever_writes_it(kind: str, parameter: Parameter) -> None:
    assert parameter.bounds, f"{kind}: {parameter.name} has no bounds"
    low, high = parameter.bounds
    for number in (low, high):
        for written in (number, float(number), f" {number} "):
            value = parameter.convert(written)
            assert value == number
            assert type(value) is parameter.kind


@pytest.mark.parametrize(("kind", "parameter"), SUBMITTED, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize(
    "wrong",
    [True, "many", "²", [], {}, float("nan"), float("inf"), -1, 10**30, "9" * 5_000, "\ud83d", "1\n2"],
)
def test_what_is_no_number_within_its_bounds_is_refused_under_its_name(
    kind: str, parameter: Parameter, wrong: Any
) -> None:
    with pytest.raises(FieldError, match=f"^{parameter.name} must be ") as refused:
        parameter.convert(wrong)
    assert len(str(refused.value)) < 300
    str(refused.value).encode()


def test_a_negative_zero_is_the_same_work_as_zero() -> None:
    for zero in (-0.0, "-0.0"):
        values = validate(VERBS["evaluate"], {"subset_size": "baseline", "temperature": zero})
        assert str(values["temperature"]) == "0.0"


def test_a_refused_value_is_quoted_as_json_writes_it() -> None:
    for wrong, written in ((False, "false"), ("many", '"many"'), ([None, 1], "[null, 1]")):
        with pytest.raises(FieldError) as refused:
            validate(VERBS["finetune"], {"subset_size": wrong})
        assert refused.value.problem == f"must be a whole number from 1 to 100,000, not {written}."


@pytest.mark.parametrize(("kind", "verb"), VERBS.items())
def test_text_is_one_line_of_characters_that_a_command_line_can_hold(kind: str, verb: Verb) -> None:
    for parameter in job_parameters(verb):
        if parameter.kind is str:
            for wrong in ("\ud83d", "a\0b", "a\nb", "x" * 10_000, True, ["a"], {"a": 1}):
                with pytest.raises(FieldError, match=f"^{parameter.name} "):
                    parameter.convert(wrong)


@pytest.mark.parametrize(("kind", "verb"), VERBS.items())
def test_an_emptied_field_is_never_the_default(kind: str, verb: Verb) -> None:
    for parameter in job_parameters(verb):
        for empty in (None, "", "  "):
            if parameter.optional:
                assert parameter.convert(empty) is None
            else:
                with pytest.raises(FieldError, match=f"^{parameter.name} (must not be|is) empty"):
                    parameter.convert(empty)


def test_a_size_is_read_as_people_write_it() -> None:
    for written in ("10,000", "10_000", "10000", 10_000, 10_000.0):
        assert validate(VERBS["evaluate"], {"subset_size": written})["subset_size"] == "10000"
    for written in ("1e4", "0", "-5", "²", "10 000", "base", 1.5):
        with pytest.raises(FieldError, match="'baseline' or a number from 1 to 100,000"):
            validate(VERBS["evaluate"], {"subset_size": written})


def test_lists_are_read_with_spaces_and_each_of_their_words_once() -> None:
    asked = {"sizes": " 200, baseline ,200", "seeds": "42, 43,42", "prompts": "augmented , regular"}
    values = validate(VERBS["sweep"], asked)
    assert (values["sizes"], values["seeds"], values["prompts"]) == (
        "200,baseline",
        "42,43",
        "augmented,regular",
    )


def test_an_endpoint_names_a_parameter_as_the_api_does_and_a_form_as_its_field(tmp_path: Path) -> None:
    runner = local_runner(tmp_path, token="secret")
    with pytest.raises(LabError, match=r"^subset_size must be a whole number"):
        submission(runner, "finetune")(subset_size="many", token="secret")
    with pytest.raises(LabError, match=r"^Training samples must be a whole number"), labelled("finetune"):
        runner.submit("finetune", {"subset_size": "many"})
    with pytest.raises(LabError, match=r"^Training samples must"), labelled("evaluate"):
        runner.submit("evaluate", {"subset_size": ""})
    assert runner.list() == []


def test_an_endpoint_takes_0_where_a_verb_takes_nothing(tmp_path: Path) -> None:
    runner = local_runner(tmp_path, token="secret")
    submit = submission(runner, "finetune")
    row = submit(300, max_steps=0, learning_rate=0.0, epochs="2", token="secret")
    assert (row["arguments"]["max_steps"], row["arguments"]["learning_rate"]) == (None, None)
    assert row["arguments"]["epochs"] == 2
    assert row["command"] == "python -m tests.verbs.finetune --subset-size=300 --epochs=2"


def test_an_endpoint_takes_minus_1_where_0_is_a_value_of_its_own(tmp_path: Path) -> None:
    runner = local_runner(tmp_path, token="secret")
    submit = submission(Runner(runner.settings, runner.records, runner.backend, VERBS), "evaluate")
    for temperature, kept in ((-1, None), (0, 0.0), (0.5, 0.5)):
        row = submit("baseline", samples=3, temperature=temperature, token="secret")
        assert row["arguments"]["temperature"] == kept


def test_the_command_that_a_run_stores_is_one_that_evaluate_takes(tmp_path: Path) -> None:
    for folder in (ASSETS / "results").iterdir():
        config = load_run(folder).config
        asked = given(repeat_command(config))
        values = validate(VERBS["evaluate"], asked)
        assert (values["family"], values["prompt"]) == (config.family, config.variant)
        assert evaluated_column(values) == config.column
        assert values["samples"] == len(config.sample_ids)
        sampling = replace(config.decoding, min_p=SamplingParams().min_p)
        assert evaluation_sampling(get_family(Settings(tmp_path), config.family), values) == sampling


def given(command: str) -> dict[str, str]:
    """The arguments of a command line by name."""
    flags = [word.removeprefix("--").partition("=") for word in shlex.split(command) if word.startswith("--")]
    return {name.replace("-", "_"): value for name, _, value in flags}


def rcl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rcl", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_the_console_command_lists_its_subcommands_with_what_they_do() -> None:
    shown = " ".join(rcl("--help").stdout.replace("│", " ").split())
    assert "app Serve the app" in shown
    assert "finetune Fine-tune a LoRA adapter on the first samples of the training split" in shown
    assert "evaluate Generate for the test samples, score what was written, and store the run." in shown
    assert "sweep Fine-tune and evaluate every combination" in shown


def test_the_console_command_ends_with_2_for_bad_arguments() -> None:
    done = rcl("evaluate", "--subset_size=²")
    assert done.returncode == 2
    assert done.stderr == (
        "error: --subset-size must be 'baseline' or a number from 1 to 100,000, not '²'.\n"
    )
