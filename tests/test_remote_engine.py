"""The remote engine against a real HTTP server, and both HTTP clients against one that others wrote."""

import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from judge_server import JudgeServer, Reply

from pipeline.generation.line import Turn
from pipeline.generation.remote_engine import RemoteEngine
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, Context, LabError, SamplingParams
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.likelihood import Likelihood
from tests.attempts import attempt, request_for

BASE = Column(Checkpoint("smollm2-135m", "baseline"), "regular")
TUNED = Column(Checkpoint("smollm2-135m", "200-regular", 200, "regular", 42), "regular")
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=24)
MODELS = ("baseline", "200-regular")
KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
def serve():
    opened = []

    def start(behaviour, models=MODELS):
        opened.append(JudgeServer(behaviour, models).__enter__())
        return opened[-1]

    yield start
    for server in opened:
        server.__exit__()


def by_model(request, before):
    return Reply(f"def from_{request.body['model']}(x):\n    return x\n", pace=0.02)


def last(snapshots):
    *_, final = snapshots
    return final


def test_each_column_is_answered_by_its_own_model(serve, family):
    server = serve(by_model)
    engine = RemoteEngine(family, server.url, KEY)
    snapshots = list(engine.stream([request_for(BASE, "one"), request_for(TUNED, "two")], GREEDY))
    base, tuned = snapshots[-1]
    assert base.text == "def from_baseline(x):\n    return x\n"
    assert tuned.text == "def from_200-regular(x):\n    return x\n"
    assert tuned.fingerprint == "remote:200-regular"
    assert base.finish_reason == tuned.finish_reason == "stop"
    assert base.tokens == 5
    assert 0 < base.seconds_to_first < base.seconds
    assert {request.prompt for request in server.requests} == {"one", "two"}
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_text_streams_and_only_grows(serve, family):
    server = serve(lambda request, before: Reply("word " * 30, pace=0.02, finish_reason="length"))
    snapshots = list(RemoteEngine(family, server.url).stream([request_for(BASE, "p")] * 2, GREEDY))
    assert len(snapshots) > 3
    texts = [snapshot[0].text for snapshot in snapshots]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert snapshots[-1][0].finish_reason == "length"


def test_columns_are_written_side_by_side(serve, family):
    server = serve(lambda request, before: Reply("word " * 10, pace=0.05))
    started = time.monotonic()
    last(RemoteEngine(family, server.url).stream([request_for(BASE, f"p{n}") for n in range(8)], GREEDY))
    assert server.peak == 8
    assert time.monotonic() - started < 2


def test_cancelling_ends_the_stream_and_hangs_up(serve, family):
    server = serve(lambda request, before: Reply("word " * 1000, pace=0.02))
    turn = Turn("ann")
    started = time.monotonic()
    for snapshot in RemoteEngine(family, server.url).stream([request_for(BASE, "p")] * 2, GREEDY, turn):
        if snapshot[0].tokens > 5:
            turn.leaving.set()
    assert [completion.finish_reason for completion in snapshot] == ["cancelled"] * 2
    assert snapshot[0].text.startswith("word word")
    while server.in_flight and time.monotonic() - started < 5:
        time.sleep(0.05)
    assert server.in_flight == 0


def test_closing_the_iterator_hangs_up(serve, family):
    server = serve(lambda request, before: Reply("word " * 1000, pace=0.02))
    stream = RemoteEngine(family, server.url).stream([request_for(BASE, "p")], GREEDY)
    next(stream)
    stream.close()
    started = time.monotonic()
    while server.in_flight and time.monotonic() - started < 5:
        time.sleep(0.05)
    assert server.in_flight == 0


def test_a_checkpoint_that_the_server_lacks_is_refused_and_those_it_has_are_named(serve, family):
    server = serve(by_model, models=("baseline",))
    with pytest.raises(LabError, match=r"no model '200-regular'.*It has: baseline"):
        last(RemoteEngine(family, server.url).stream([request_for(TUNED, "p")], GREEDY))
    assert server.requests == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(f"wrong key {KEY}", 401), r"wrong key \[key\]"),
        (Reply("word " * 20, cut=True), "broke off the answer of baseline"),
        (Reply("no such thing", 404), "no such thing"),
        (Reply("busy", 503), "busy"),
        (Reply(raw='data: {"choices": [{"te\n\ndata: [DONE]\n\n'), "a reply that cannot be read"),
        (Reply(raw='data: "choices"\n\n'), "a reply that cannot be read"),
        (Reply(raw='data: {"choices": 5}\n\n'), "a reply that cannot be read"),
        (Reply(raw='data: {"choices": [null]}\n\n'), "a reply that cannot be read"),
        (Reply(raw='data: {"choices": [{"text": 5}]}\n\n'), "a reply that cannot be read"),
        (
            Reply(raw='data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n'),
            "be read",
        ),
        (Reply(raw="data: " + "[" * 100_000 + "\n\n"), "a reply that cannot be read"),
        (Reply(raw="<html>Welcome</html>"), "broke off the answer of baseline"),
        (Reply(raw="data: [DONE]\n\n"), "broke off the answer of baseline"),
        (Reply(raw='data: {"error": {"message": "out of memory"}}\n\n'), "out of memory"),
        (Reply("word", finish_reason="abort"), "broke off the answer of baseline"),
    ],
)
def test_what_goes_wrong_is_said_in_words_without_the_key(serve, family, reply, words):
    engine = RemoteEngine(family, serve(lambda request, before: reply).url, KEY)
    with pytest.raises(LabError, match=words) as error:
        last(engine.stream([request_for(BASE, "p")], SamplingParams()))
    assert KEY not in str(error.value)


def events(*chunks):
    return Reply(raw="".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n")


@pytest.mark.parametrize(
    "usage",
    [None, [], -1, {}, *({"completion_tokens": count} for count in (None, 0, "2", True, 3.5, 10**30))],
)
def test_a_count_of_tokens_that_makes_no_sense_is_replaced_by_our_own(serve, family, usage):
    chunks = [{"choices": [{"text": word, "finish_reason": None}]} for word in ("def f", "():")]
    end = {"choices": [{"text": None, "finish_reason": "stop"}], "usage": usage}
    server = serve(lambda request, before: events(*chunks, end, {"choices": [], "usage": usage}))
    [completion] = last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], GREEDY))
    assert (completion.text, completion.tokens, completion.finish_reason) == ("def f():", 2, "stop")


def test_a_server_that_goes_on_without_end_is_stopped_in_words(serve, family):
    server = serve(lambda request, before: Reply("word " * 5_000))
    with pytest.raises(LabError, match="does not keep to max_tokens"):
        last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], GREEDY))


def test_another_answer_that_was_not_asked_for_is_left_out(serve, family):
    end = [
        {"index": index, "text": text, "finish_reason": "stop"} for index, text in enumerate(("one", "two"))
    ]
    server = serve(lambda request, before: events({"choices": end}))
    [completion] = last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], GREEDY))
    assert completion.text == "one"


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (["seed"], 400),
        (["seed"], 500),
        (["stream_options"], 422),
        (["min_p"], 422),
        (["seed", "min_p", "stream_options"], 400),
    ],
)
def test_an_optional_parameter_that_the_server_refuses_is_left_out_and_this_is_said(
    serve, family, refused, status, caplog
):
    def strict(request, before):
        name = next((name for name in refused if name in request.body), None)
        return Reply(f"Extra inputs are not permitted: {name}", status) if name else by_model(request, before)

    engine = RemoteEngine(family, serve(strict).url)
    for _ in range(2):
        requests = [request_for(BASE, f"p{n}") for n in range(2)]
        completions = last(engine.stream(requests, SamplingParams(temperature=0.1)))
        for completion in completions:
            assert completion.text.startswith("def from_baseline")
            assert completion.tokens == 5
            assert all(name in completion.note for name in refused)
    assert all(f"refuses {name}" in caplog.text for name in refused)


def test_a_refusal_inside_the_stream_is_understood_too(serve, family):
    def strict(request, before):
        error = Reply(raw='data: {"error": {"message": "seed is not supported", "code": 400}}\n\n')
        return error if "seed" in request.body else by_model(request, before)

    [completion] = last(RemoteEngine(family, serve(strict).url).stream([request_for(BASE, "p")], GREEDY))
    assert completion.text.startswith("def from_baseline")
    assert "seed" in completion.note


def test_where_nothing_is_refused_there_is_nothing_to_say(serve, family):
    [completion] = last(RemoteEngine(family, serve(by_model).url).stream([request_for(BASE, "p")], GREEDY))
    assert completion.note == ""


def test_a_parameter_that_is_needed_is_not_left_out(serve, family):
    server = serve(lambda request, before: Reply("temperature must be 1", 400))
    with pytest.raises(LabError, match="temperature must be 1"):
        last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], SamplingParams()))
    assert len(server.requests) == 1


@pytest.mark.parametrize("raw", ["<html>", "{", '{"data": null}', '{"data": [null]}', "[]", "[" * 100_000])
def test_a_list_of_models_that_cannot_be_read_is_said_in_words(serve, family, raw):
    server = serve(by_model)
    server.model_list = Reply(raw=raw)
    with pytest.raises(LabError, match=r"does not say which models|has no model 'baseline'"):
        last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], GREEDY))


def test_a_server_that_is_gone_is_said_in_words(family):
    with JudgeServer() as gone:
        pass
    with pytest.raises(LabError, match="does not say which models"):
        last(RemoteEngine(family, gone.url).stream([request_for(BASE, "p")], GREEDY))


@pytest.mark.parametrize(
    ("sampling", "min_p"),
    [(SamplingParams(0.1, 0.1), 0.1), (SamplingParams(0.0, 0.1), None), (SamplingParams(0.5, 0.0), None)],
)
def test_the_sampling_reaches_the_server(serve, family, sampling, min_p):
    server = serve(by_model)
    last(RemoteEngine(family, server.url).stream([request_for(BASE, "p")], sampling))
    body = server.requests[0].body
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (sampling.temperature, 42, 256)
    assert body.get("min_p") == min_p


def test_long_contexts_are_trimmed_and_long_instructions_refused(family):
    engine = RemoteEngine(family, "http://127.0.0.1:9/v1")
    context = Context("import torch\n" * 1000, "x = 1\n" * 1000)
    prompt = engine.render("Write it.", "augmented", context, SamplingParams())
    assert len(prompt.text) <= 3 * (family.sequence_length - 256)
    assert "left out" in prompt.trimmed
    with pytest.raises(LabError, match="too long"):
        engine.render("Write it. " * 1000, "regular", context, SamplingParams())
    with pytest.raises(LabError, match="new tokens"):
        engine.render("Write it.", "regular", context, SamplingParams(max_new_tokens=family.sequence_length))


def like_vllm(request, before):
    """A token is a character, its id the code; the likelihood of each is a half."""
    if request.path == "/tokenize":
        start = [0] if request.body["add_special_tokens"] else []
        return Reply(raw=json.dumps({"tokens": [*start, *map(ord, request.prompt)]}))
    odds = [{str(token): {"logprob": math.log(0.5), "rank": 1}} for token in request.body["prompt"]]
    return Reply(raw=json.dumps({"choices": [{"text": "x", "prompt_logprobs": [None, *odds[1:]]}]}))


def problem_of(engine):
    (problem,) = engine.bits_per_byte([request_for(BASE, "p")], ["x"])
    assert isinstance(problem, LabError)
    return str(problem)


def test_a_text_without_a_likelihood_leaves_the_others_theirs_and_none_is_asked_for_twice(serve, family):
    def like_vllm_but_once(request, before):
        return Reply(raw="{}") if "bad" in str(request.body) else like_vllm(request, before)

    server = serve(like_vllm_but_once)
    references = ["return x", "bad", "return y"]
    attempts_ = [attempt("Write it.", "", "", each, "p") for each in references]
    scores = [score for (score,) in Likelihood(RemoteEngine(family, server.url)).score(attempts_)]
    assert [score.value for score in scores] == [pytest.approx(1), None, pytest.approx(1)]
    assert len(server.requests) == 2 * 3 + 2


def test_bits_per_byte_are_those_of_the_reference_alone(serve, family):
    engine = RemoteEngine(family, serve(like_vllm).url)
    requests = [request_for(BASE, "Write it."), request_for(TUNED, "Write")]
    assert engine.bits_per_byte(requests, ["return x", "é"]) == pytest.approx([1, 0.5])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, raw='{"detail": "Not Found"}'),
        Reply(raw='{"tokens": null}'),
        Reply(raw="<html>"),
        Reply("an answer without likelihoods"),
    ],
    ids=["no such path", "no tokens", "no JSON", "another protocol"],
)
def test_a_server_without_likelihoods_is_said_in_words(serve, family, reply):
    engine = RemoteEngine(family, serve(lambda request, before: reply).url)
    assert "gives no likelihoods of a given text" in problem_of(engine)


@pytest.mark.parametrize("logprob", [0.1, math.nan, -math.inf, "-0.7", True, None])
def test_a_likelihood_that_cannot_be_one_is_no_score(serve, family, logprob):
    def lying(request, before):
        if request.path == "/tokenize":
            return like_vllm(request, before)
        odds = [{str(token): {"logprob": logprob}} for token in request.body["prompt"]]
        return Reply(raw=json.dumps({"choices": [{"text": "x", "prompt_logprobs": odds}]}))

    engine = RemoteEngine(family, serve(lying).url)
    assert "gives no likelihoods of a given text" in problem_of(engine)


@pytest.mark.parametrize("tokens", ["[]", "[true]", '["1"]', "[-1]", "[1e400]", str([1] * 1000)])
def test_tokens_that_cannot_be_those_of_the_text_are_never_sent(serve, family, tokens):
    server = serve(lambda request, before: Reply(raw=f'{{"tokens": {tokens}}}'))
    assert "gives no likelihoods of a given text" in problem_of(RemoteEngine(family, server.url))
    assert {request.path for request in server.requests} == {"/tokenize"}


# A server that nobody here wrote: `transformers serve` with the embedded model's first layers


@pytest.fixture(scope="module")
def foreign(short, family, tmp_path_factory):
    """Base URL of a server with one model, ``baseline``, in a hub cache of its own."""
    folder = tmp_path_factory.mktemp("serve")
    repository = folder / "models--baseline"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(
        base_model_dir(short, family), repository / "snapshots" / ("0" * 40), copy_function=os.symlink
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, command = folder / "log", Path(sys.executable).parent / "transformers"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, "serve", "baseline", "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder)},
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_judge_that_writes_nonsense_on_a_foreign_server_is_unscored(foreign, tmp_path):
    config = JudgeConfig(method="taxonomy", model="baseline", base_url=foreign, max_tokens=16)
    items = [
        attempt(f"Return {n}.", "", f"def f():\n    return {n}", f"def f():\n    return {n}") for n in (1, 2)
    ]
    scores = [
        score for [score] in CodeJudge(JudgeClient(config, "", tmp_path, calls_in_flight=2)).score(items)
    ]
    assert [score.value for score in scores] == [None, None]
    assert all(score.reason for score in scores)
    assert all(score.details["votes"][0]["words"][0] for score in scores)


def test_the_remote_engine_streams_from_a_foreign_server(foreign, family):
    engine = RemoteEngine(family, foreign)
    snapshots = list(engine.stream([request_for(BASE, "def add(a, b):\n    return")], GREEDY))
    [completion] = snapshots[-1]
    assert completion.finish_reason in ("stop", "length")
    assert 0 < completion.tokens <= 24
    assert completion.text
