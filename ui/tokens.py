"""An answer token by token: how sure the model was of each, what else it could have written, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from pipeline.schema import TokenChoice
from ui.markup import escape

_SURE = ((0.9, ""), (0.6, "t1"), (0.3, "t2"), (0.0, "t3"))
"""The least probability of each look."""
_SHOWN = str.maketrans({"\n": "⏎", "\t": "⇥"})


def first_difference(choices: Sequence[TokenChoice], first: Sequence[TokenChoice]) -> int | None:
    """The place of the first token that differs from another answer's; None if all are the same."""
    pairs = zip_longest((each.text for each in choices), (each.text for each in first))
    return next((place for place, (own, other) in enumerate(pairs) if own != other), None)


def tokens(choices: Sequence[TokenChoice], different: int | None) -> str:
    """Every token, darker the less likely it was; pointing at one shows the alternatives.

    Args:
        choices: one for each token.
        different: the place of a token to mark.
    """
    return "".join(_token(choice, place == different) for place, choice in enumerate(choices))


def _token(choice: TokenChoice, marked: bool) -> str:
    look = next(name for least, name in _SURE if choice.probability >= least)
    others = ", ".join(f"{_quoted(text)} {probability:.0%}" for text, probability in choice.others)
    hint = escape(f"{_quoted(choice.text)} {choice.probability:.0%}. Others: {others}")
    text = f'<span class="{look}" title="{hint}">{escape(choice.text)}</span>'
    return f'<mark class="differs">{text}</mark>' if marked else text


def _quoted(text: str) -> str:
    return f"“{text.translate(_SHOWN)}”"
