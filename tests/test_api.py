"""The HTTP API, over the wire, with the real embedded model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.schema import FieldError
from ui.api.endpoint import convert

BASELINE, GOOD, DAMAGED = "baseline/regular", "5000/regular", "100/regular"
SHORT: dict[str, Any] = {"max_new_tokens": 12, "temperature": 0}
TASK = "Write a function that adds two tensors."


@pytest.fixture(scope="module")
def client(app_url: str) -> Iterator[Client]:
    client = Client(app_url, verbose=False)
    yield client
    client.close()


def test_every_endpoint_is_typed_and_described(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {"/generate", "/compare", "/score", "/samples", "/checkpoints"} <= set(endpoints)
    for name, endpoint in endpoints.items():
        assert endpoint["description"], name
        for value in endpoint["parameters"]:
            assert value["python_type"]["description"], (name, value["parameter_name"])
        assert all(
            value["python_type"]["type"] != "Any" for value in endpoint["parameters"] + endpoint["returns"]
        )


def test_checkpoints_lists_the_columns_that_compare_takes(client: Client) -> None:
    rows = {row["name"]: row for row in client.predict(api_name="/checkpoints")}
    assert rows["baseline"]["columns"] == ["baseline/regular", "baseline/augmented", "baseline/chat"]
    assert rows["5000-regular"]["columns"] == [GOOD]
    assert rows["5000-regular"]["fingerprint"]


def test_compare_streams_every_column_and_ends_with_scores(client: Client) -> None:
    sample = client.predict(limit=1, api_name="/samples")["samples"][0]
    job = client.submit([BASELINE, GOOD], sample_id=sample["id"], max_new_tokens=24, api_name="/compare")
    last = job.result(timeout=120)
    tokens = [[answer["tokens"] for answer in answers] for answers in job.outputs()]
    assert len(tokens) > 3
    assert tokens == sorted(tokens)
    assert [answer["column"] for answer in last] == [BASELINE, GOOD]
    assert last[0]["text"] != last[1]["text"]
    for answer in last:
        assert answer["finish_reason"] in ("stop", "length")
        scores = {score["metric"]: score for score in answer["scores"]}
        assert scores["bits per byte"]["value"] > 0
        assert {"chrF", "edit similarity", "parses", "same signature"} <= set(scores)


def test_a_damaged_adapter_fails_in_its_own_column_only(client: Client) -> None:
    good, damaged = client.predict([BASELINE, DAMAGED], TASK, **SHORT, api_name="/compare")
    assert "100-regular is damaged" in damaged["error"]
    assert damaged["text"] == ""
    assert good["tokens"] == 12
    assert not good["error"]


def test_a_free_instruction_is_scored_by_what_needs_no_reference(client: Client) -> None:
    answer = client.predict(BASELINE, TASK, **SHORT, api_name="/generate")
    assert [score["metric"] for score in answer["scores"]] == ["parses"]


def test_score_takes_the_code_out_of_any_answer(client: Client) -> None:
    code = "def add(a, b):\n    return a + b"
    rows = client.predict(f"Sure:\n```python\n{code}\n```", code, api_name="/score")
    scores = {row["metric"]: row["value"] for row in rows}
    assert scores["edit similarity"] == 1
    assert scores["parses"] == 1


def test_samples_are_found_by_their_words_and_paged(client: Client) -> None:
    every = client.predict(limit=5, api_name="/samples")
    name = every["samples"][3]["function_name"].rpartition(".")[2]
    found = client.predict(name, limit=200, api_name="/samples")
    assert every["samples"][3]["id"] in [sample["id"] for sample in found["samples"]]
    assert found["total"] < every["total"]
    assert client.predict(limit=2, offset=3, api_name="/samples")["samples"] == every["samples"][3:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["123/regular"]}, 'no checkpoint "123/regular"'),
        ({"columns": []}, "columns must name from 1 to 12 columns, not 0"),
        (
            {"columns": [f"{size}/regular" for size in range(13)]},
            "columns must name from 1 to 12 columns, not 13",
        ),
        ({"columns": BASELINE}, 'columns must be a list of texts, not "baseline/regular"'),
        ({"instruction": ""}, "instruction is empty, and so is sample_id"),
        ({"instruction": "x" * 1_000_000}, "instruction is too long: 1,000,000 characters"),
        ({"instruction": "word " * 3_000}, "too long"),
        ({"instruction": "a\0b"}, "instruction contains a NUL character at position 2"),
        ({"instruction": 5}, "instruction must be a text, not 5"),
        ({"context": "x\0"}, "context contains a NUL character"),
        ({"sample_id": "nothing"}, "instruction is given beside a sample_id"),
        ({"instruction": "", "sample_id": "nothing", "context": "x"}, "context must be empty"),
        ({"instruction": "", "sample_id": "nothing"}, 'no sample "nothing"'),
        ({"family": "gpt-9"}, 'no model family "gpt-9"'),
        ({"temperature": -1}, "temperature must be a number from 0 to 2, not -1"),
        ({"temperature": "hot"}, 'temperature must be a number or "default", not "hot"'),
        ({"temperature": True}, 'temperature must be a number or "default", not true'),
        ({"temperature": "nan"}, 'temperature must be a number or "default", not "nan"'),
        ({"temperature": "inf"}, 'temperature must be a number or "default", not "inf"'),
        ({"temperature": None}, 'temperature must be a number or "default", not null'),
        ({"min_p": 1.5}, "min_p must be a number from 0 to 1, not 1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1 to 4,096, not 0"),
        ({"max_new_tokens": 8.5}, 'max_new_tokens must be a whole number or "default", not 8.5'),
        ({"max_new_tokens": True}, 'max_new_tokens must be a whole number or "default", not true'),
        ({"max_new_tokens": "1_0"}, 'max_new_tokens must be a whole number or "default", not "1_0"'),
        ({"temperature": "0_1"}, 'temperature must be a number or "default", not "0_1"'),
        ({"max_new_tokens": None}, 'max_new_tokens must be a whole number or "default", not null'),
        ({"max_new_tokens": 10**30}, "to 9,007,199,254,740,992, not 1000"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2,147,483,647, not -1"),
        ({"max_new_tokens": 4000}, "new tokens fit this model"),
    ],
)
def test_bad_input_gets_a_clear_message(client: Client, arguments: dict[str, Any], message: str) -> None:
    given = {"columns": [BASELINE], "instruction": TASK, "max_new_tokens": 4, **arguments}
    try:
        answers = client.predict(**given, api_name="/compare")
    except AppError as error:
        said = str(error)
    else:
        said = answers[0]["error"]
    assert message in said


@pytest.mark.parametrize("field", ["completion", "reference", "instruction"])
def test_score_refuses_what_no_model_can_write_before_it_works(client: Client, field: str) -> None:
    given = {"completion": "x = 1", field: "x = 1\n" * 33_000}
    began = time.perf_counter()
    with pytest.raises(AppError, match=f"{field} is too long: 198,000 characters; the limit is"):
        client.predict(**given, api_name="/score")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("number", ["8", 8.0, "8.0"])
def test_a_number_is_used_as_its_parameters_type(client: Client, number: Any) -> None:
    answer = client.predict(BASELINE, TASK, max_new_tokens=number, temperature="0", api_name="/generate")
    assert 0 < answer["tokens"] <= 8
    assert len(client.predict(limit=number, offset=number, api_name="/samples")["samples"]) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit must be a whole number from 1 to 200, not 0"),
        ({"limit": True}, "limit must be a whole number, not true"),
        ({"limit": 10**20}, "limit must be from -9,007,199,254,740,992 to 9,007,199,254,740,992, not 1000"),
        ({"limit": "1_0"}, 'limit must be a whole number, not "1_0"'),
        ({"limit": "１０"}, 'limit must be a whole number, not "１０"'),
        ({"offset": -1}, "offset must be 0 or more"),
        ({"variant": "talk"}, 'variant must be one of "regular", "augmented", "chat", not "talk"'),
        ({"query": ["a"]}, 'query must be a text, not ["a"]'),
    ],
)
def test_bad_input_to_samples_gets_a_clear_message(
    client: Client, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(**arguments, api_name="/samples")


def test_the_choices_of_a_parameter_are_listed_once_and_a_long_value_is_cut() -> None:
    with pytest.raises(FieldError) as caught:
        convert("state", "no" * 9_000, Literal["queued", "failed"] | Literal[""])
    assert str(caught.value) == f'state must be one of "queued", "failed", "", not "{"no" * 29}n….'


def test_generate_is_compare_with_one_column(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    one, many = (endpoints[name]["parameters"] for name in ("/generate", "/compare"))
    assert [one[0]["parameter_name"], many[0]["parameter_name"]] == ["column", "columns"]
    assert one[1:] == many[1:]
    alone = client.predict(GOOD, TASK, **SHORT, api_name="/generate")
    (compared,) = client.predict([GOOD], TASK, **SHORT, api_name="/compare")
    assert alone["text"] == compared["text"]


def test_a_cancelled_request_frees_the_model_at_once(client: Client) -> None:
    start = time.perf_counter()
    long = {"max_new_tokens": 900, "temperature": 0.1}  # the greedy answer ends too soon
    job = client.submit([BASELINE, GOOD], TASK, **long, api_name="/compare")
    while not (job.outputs() and job.outputs()[-1][0]["tokens"] >= 20):
        assert not job.done()
        time.sleep(0.05)
    step = (time.perf_counter() - start) / 20
    job.cancel()
    start = time.perf_counter()
    assert client.predict(BASELINE, TASK, **SHORT, api_name="/generate")["tokens"] > 0
    assert time.perf_counter() - start < 400 * step
