"""The answer of a reasoning model: its text without its thinking."""

from __future__ import annotations

import re

from pipeline.scoring.fences import Fence, parse_fence, parse_opening

_NAMES = r"think|thinking|thought|reasoning|seed:think"
_OPENING = re.compile(
    rf"[ \t]*(?:<(?:{_NAMES})>|\[think\]|◁think▷|<\|channel\|>analysis<\|message\|>"
    r"|<\|begin_of_thought\|>|<\|start_thinking\|>)",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</(?:{_NAMES})>|\[/think\]|◁/think▷|<\|channel\|>final<\|message\|>"
    r"|<\|end_of_thought\|>|<\|end_thinking\|>",
    re.IGNORECASE,
)
# A closing tag whose opening tag stands in the prompt. Elsewhere in a line, the text only mentions a tag.
_CLOSING_ALONE = re.compile(
    rf"^[ \t]*(?:{_CLOSING.pattern})|(?:{_CLOSING.pattern})(?=[ \t]*$)", re.IGNORECASE
)


def without_thinking(text: str) -> str:
    """Remove what stands between tags such as ``<think>`` and ``</think>``.

    An opening tag counts at the start of a line outside code blocks; without a closing tag the thinking goes
    on to the end of the text. A closing tag alone, at the start or end of a line outside code blocks, ends
    thinking that began with the text.
    """
    answer: list[str] = []
    block: Fence | None = None  # the fence of the code block that is open
    thinking = False
    for line in text.split("\n"):
        if block is None and not thinking and (tag := _OPENING.match(line)):
            thinking, line = True, line[tag.end() :]
        if thinking:
            closing = _CLOSING.search(line)
            if closing is None:
                continue
            thinking, line = False, line[closing.end() :]
        elif block is None and (closing := _CLOSING_ALONE.search(line)):
            answer.clear()
            line = line[closing.end() :]
        if block is None:
            block = parse_opening(line)
        elif (fence := parse_fence(line)) and fence.closes(block):
            block = None
        answer.append(line)
    return "\n".join(answer)
