"""How likely a given text is under a model of a server: vLLM's server can say it, others cannot.

It splits a text into tokens at ``/tokenize``, beside ``/v1``, and gives the log-probability of each token of
a prompt that ``/v1/completions`` reads with the parameter ``prompt_logprobs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urljoin

from annotated_types import Ge, Le
from pydantic import AllowInfNan, Strict, TypeAdapter

if TYPE_CHECKING:
    from openai import OpenAI

_TOKENS = TypeAdapter(list[Annotated[int, Strict(), Ge(0)]])
_LOGPROB: TypeAdapter[float] = TypeAdapter(Annotated[float, Strict(), AllowInfNan(False), Le(0)])
_AROUND = 8  # tokens that a tokenizer may add to a text


def split(server: OpenAI, model: str, text: str, start: bool) -> list[int]:
    """Token ids of a text, with the model's start token if wanted.

    Raises:
        openai.APIError: the server is out of reach, or refuses.
        ValueError, KeyError, TypeError: its reply is not the one of such a server, or has more tokens than
            the text has bytes.
    """
    body = {"model": model, "prompt": text, "add_special_tokens": start}
    reply: Any = server.post(urljoin(str(server.base_url), "../tokenize"), body=body, cast_to=object)
    tokens = _TOKENS.validate_python(reply["tokens"])
    if not 0 < len(tokens) <= len(text.encode()) + _AROUND:
        raise ValueError(f"{len(tokens)} tokens for {len(text):,} characters")
    return tokens


def nats(server: OpenAI, model: str, before: Sequence[int], after: Sequence[int]) -> tuple[float, Any]:
    """The sum of -ln p over the tokens of a text, given those before it; and the reply's ``usage``.

    Raises:
        openai.APIError: the server is out of reach, or refuses.
        ValueError, KeyError, TypeError, IndexError, AttributeError: its reply is not one of such a server.
    """
    reply = server.completions.create(
        model=model,
        prompt=[*before, *after],
        max_tokens=1,  # the fewest
        temperature=0,
        extra_body={"prompt_logprobs": 0},  # of the prompt's own tokens, and of no likelier others
    )
    found: Any = reply.choices[0].prompt_logprobs
    if len(found) != len(before) + len(after):
        raise ValueError(f"log-probabilities of {len(found)} tokens")
    own = zip(after, found[len(before) :], strict=True)
    return -sum(_LOGPROB.validate_python(each[str(token)]["logprob"]) for token, each in own), reply.usage
