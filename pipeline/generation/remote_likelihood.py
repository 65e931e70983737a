"""How likely a given text is under a model of a server: vLLM's server can say it, others cannot.

It splits a text into tokens at ``/tokenize``, beside ``/v1``, and gives the log-probability of each token of
a prompt that ``/v1/completions`` reads with the parameter ``prompt_logprobs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

if TYPE_CHECKING:
    from openai import OpenAI


def nats(server: OpenAI, model: str, prompt: str, target: str) -> float:
    """The sum of -ln p over the target's tokens after the prompt.

    The two are split into tokens apart, as the local engine does, so that both mean the same.

    Raises:
        openai.APIError: the server is out of reach, or refuses.
        ValueError, KeyError, TypeError, IndexError: its reply is not the one of such a server.
    """
    before, after = _tokens(server, model, prompt, start=True), _tokens(server, model, target, start=False)
    body = {
        "model": model,
        "prompt": [*before, *after],
        "max_tokens": 1,  # the fewest
        "temperature": 0,
        "prompt_logprobs": 0,  # of the prompt's own tokens, and of no likelier others
    }
    reply: Any = server.post("/completions", body=body, cast_to=object)
    found = reply["choices"][0]["prompt_logprobs"]
    if len(found) != len(before) + len(after):
        raise ValueError("another number of tokens")
    own = zip(after, found[len(before) :], strict=True)
    return -sum(float(each[str(token)]["logprob"]) for token, each in own)


def _tokens(server: OpenAI, model: str, text: str, start: bool) -> list[int]:
    """Token ids, with the model's start token if wanted."""
    body = {"model": model, "prompt": text, "add_special_tokens": start}
    reply: Any = server.post(urljoin(str(server.base_url), "../tokenize"), body=body, cast_to=object)
    return [int(token) for token in reply["tokens"]]
