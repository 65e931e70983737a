"""CodeBERTScore: how well two programs match, token by token, in an encoder's vector space.

The mathematics are those of the ``code-bert-score`` package (Zhou et al. 2023, arXiv 2302.05527), and its
functions do the matching. In addition, the encoder is loaded once instead of at every call, equal texts are
embedded once, embedded references are kept, and windows are batched by length. Windows are laid over each
text and matched separately, so that a score does not depend on the other texts of its batch: it is the
package's number for ``batch_size=1``. (In a larger batch the package's number changes for texts longer than
three quarters of a window, since it lays windows over the padded batch, and for tokens similar to no other,
since it counts padding as a similarity of 0.)

The prompt stands before both texts as context, and its tokens are left out of the matching. Two modes:

* ``package`` finds them as the package does: it decodes growing prefixes until the prompt does not start with
  one. A character of several tokens (θ, ∈, ’) ends this too early, and the rest of the prompt is matched with
  itself. Published figures contain this error; compare them with this mode only.
* ``exact`` finds them by character offsets, treats every kind of line end alike, and reads the names of
  special tokens, such as ``"[SEP]"`` in code, as text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipeline.schema import Attempt, Score, Task
from pipeline.scoring.encoder import Embedded, Encoder
from pipeline.scoring.extract import normalize_line_ends

if TYPE_CHECKING:
    import torch

Mode = Literal["package", "exact"]
_PAIRS_PER_BATCH = 64
MAX_TOKENS = 4_096
"""Of a text with its prompt: as many as a model may write, and 67 MB for each of the package's matrices."""
KEPT_TOKENS = 100_000
"""Most tokens of references whose vectors are kept: 150 MB at 384 dimensions."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts to match; ``source`` is the prompt that both answer, None to match without a prompt."""

    candidate: str
    reference: str
    source: str | None = None
    mode: Mode = "exact"


@dataclass(frozen=True, slots=True)
class Match:
    """A pair's figures, each from -1 to 1; ``windows`` is how many the candidate has (1 up to 512 tokens)."""

    precision: float
    recall: float
    f1: float
    f3: float
    windows: int


@dataclass(frozen=True, slots=True)
class _Side:
    """A text's tokens in the matching: vectors [T, d] and weights [T], 0 for the tokens around the text.

    If it has none, a string takes its place that says why: ``is empty``.
    """

    vectors: torch.Tensor
    weights: torch.Tensor
    windows: int


_Key = tuple[Mode, str | None, str]  # mode, source, text


@dataclass(frozen=True)
class Matcher:
    """Matches pairs with one encoder, and keeps a limited number of embedded references."""

    encoder: Encoder
    _kept: dict[_Key, _Side | str] = field(default_factory=dict, repr=False)
    _is_word: dict[int, bool] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def match(self, pairs: Sequence[TextPair]) -> list[Match | str]:
        """Match each pair; if that is not possible, the reason takes the place of the figures."""
        results: dict[TextPair, Match | str] = {}
        by_length = sorted(set(pairs), key=lambda pair: (len(pair.candidate.strip()), pair.candidate.strip()))
        with self._lock:  # the model already uses every core
            for start in range(0, len(by_length), _PAIRS_PER_BATCH):
                batch = by_length[start : start + _PAIRS_PER_BATCH]
                candidates: list[_Key] = [(pair.mode, pair.source, pair.candidate) for pair in batch]
                references: list[_Key] = [(pair.mode, pair.source, pair.reference) for pair in batch]
                sides = self._sides([*candidates, *references])
                for pair, ours, theirs in zip(batch, candidates, references, strict=True):
                    results[pair] = _match(sides[ours], sides[theirs])
                self._keep({key: sides[key] for key in references})
        return [results[pair] for pair in pairs]

    def _sides(self, keys: Iterable[_Key]) -> dict[_Key, _Side | str]:
        sides: dict[_Key, _Side | str] = {}
        texts: dict[_Key, tuple[str, str]] = {}
        for key in keys:
            if key in self._kept:
                sides[key] = self._kept[key] = self._kept.pop(key)  # the last used is removed last
            elif refused := _refused(key):
                sides[key] = refused
            else:
                texts[key] = _joined(key)
        literal = {key for key, (_, text) in texts.items() if key[0] == "exact" and self._names_special(text)}
        for split, of_split in ((True, literal), (False, texts.keys() - literal)):
            tokens = self.encoder.tokenize({texts[key][1] for key in of_split}, split_special_tokens=split)
            short = {text: each for text, each in tokens.items() if len(each.ids) <= MAX_TOKENS}
            embedded = self.encoder.embed(short)
            for key in of_split:
                prompt, text = texts[key]
                if text in embedded:
                    sides[key] = self._side(key, prompt, embedded[text])
                else:
                    many = f"{len(tokens[text].ids):,} tokens with its prompt"
                    sides[key] = f"has {many}, and at most {MAX_TOKENS:,} are matched"
        return sides

    def _names_special(self, text: str) -> bool:
        """Whether it holds the name of a special token; other texts have the same tokens in both modes."""
        return any(name in text for name in self.encoder.tokenizer.all_special_tokens)

    def _side(self, key: _Key, prompt: str, text: Embedded) -> _Side | str:
        import torch

        mode, source, _ = key
        tokenizer, ids = self.encoder.tokenizer, text.tokens.ids
        if source is None:
            behind = 1
        elif mode == "exact":
            behind = 1 + sum(0 < end <= len(prompt) for end in text.tokens.ends)
        elif tokenizer.bos_token is None:
            return "has a prompt, which code-bert-score does not take with this encoder's tokenizer"
        else:
            behind = max(1, _package_prompt_length(tokenizer, prompt, ids))
        # As in the package: keep the first token, leave out the prompt, then all tokens of punctuation only.
        words = self._words(ids)
        places = torch.tensor(
            [at for at in (0, *range(behind, len(ids))) if ids[at] in words], dtype=torch.long
        )
        kept = torch.tensor(ids)[places]
        weights = (kept != tokenizer.sep_token_id) & (kept != tokenizer.cls_token_id)
        if mode == "exact" and not weights.any():
            return "has only punctuation"
        vectors = text.vectors[places.to(text.vectors.device)]
        return _Side(vectors, weights.to(vectors), text.windows)

    def _words(self, ids: Sequence[int]) -> set[int]:
        """Return those of the tokens that are not only punctuation."""
        from code_bert_score.utils import mark_all_punc_tokens

        if new := [token for token in set(ids) if token not in self._is_word]:
            marks = mark_all_punc_tokens(self.encoder.tokenizer.convert_ids_to_tokens(new))
            self._is_word.update(zip(new, marks.tolist(), strict=True))
        return {token for token in set(ids) if self._is_word[token]}

    def _keep(self, references: Mapping[_Key, _Side | str]) -> None:
        self._kept.update(references)
        sizes = {key: 1 if isinstance(side, str) else len(side.weights) for key, side in self._kept.items()}
        excess = sum(sizes.values()) - KEPT_TOKENS
        for key, size in sizes.items():
            if excess <= 0:
                break
            del self._kept[key]
            excess -= size


def _match(candidate: _Side | str, reference: _Side | str) -> Match | str:
    import torch
    from code_bert_score.utils import greedy_cos_idf

    if isinstance(candidate, str):
        return f"the candidate {candidate}"
    if isinstance(reference, str):
        return f"the reference {reference}"
    theirs, ours = (
        (side.vectors[None].clone(), torch.ones_like(side.weights[None]), side.weights[None].clone())
        for side in (reference, candidate)  # copies, since the package works in place
    )
    precision, recall, f1, f3 = (float(figure) for figure in greedy_cos_idf(*theirs, *ours))
    return Match(precision, recall, f1, f3, candidate.windows)


def _joined(key: _Key) -> tuple[str, str]:
    """Return the prompt as it stands before the text, and both together, as the package joins them."""
    mode, source, text = key
    if mode == "exact":
        source, text = source and normalize_line_ends(source), normalize_line_ends(text)
    prompt = "" if source is None else f"{source.strip()} \n"
    joined = f"{prompt}{text.strip()}".strip()
    # Stripping removes an empty prompt's line end too; only the package still searches for it.
    return ("" if mode == "exact" and not prompt.strip() else prompt), joined


def _refused(key: _Key) -> str | None:
    """Return why a text cannot be tokenized, by the package neither; None if it can."""
    mode, _, text = key
    joined = _joined(key)[1]
    if not joined or (mode == "exact" and not text.strip()):
        return "is empty"
    try:
        joined.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def _package_prompt_length(tokenizer: Any, prompt: str, ids: list[int]) -> int:
    """Return how many leading tokens the package counts as the prompt's, with its error."""
    length = 0
    for end in range(len(ids)):
        if not prompt.startswith(tokenizer.decode(ids[:end]).removeprefix(tokenizer.bos_token)):
            break
        length = end
    return length


@dataclass(frozen=True)
class BertScore:
    """F1 and rescaled F1 (2·F1 - 1) of the extracted code, and of the raw completion.

    The code is scored in ``exact`` mode. The raw text is scored in ``package`` mode, for comparison with
    published figures; if the package takes no prompts with the encoder's tokenizer, there are no published
    figures, and it is scored in ``exact`` mode too. Details name the mode. The source is the instruction, not
    the rendered prompt.
    """

    matcher: Matcher

    quick = False

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 and rescaled F1 of the code, then of the raw text."""
        return self.matcher.encoder.kind.metrics

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """See ``Scorer``."""
        raw_mode: Mode = "exact" if self.matcher.encoder.tokenizer.bos_token is None else "package"
        pairs = [
            pair
            for attempt in attempts
            if attempt.task.reference is not None and attempt.completion is not None
            for pair in (
                TextPair(attempt.code, attempt.task.reference, attempt.task.instruction),
                TextPair(attempt.completion.text, attempt.task.reference, attempt.task.instruction, raw_mode),
            )
        ]
        matches = iter(self.matcher.match(pairs))
        return [
            [Score(metric, None, "there is no reference") for metric in self.metrics]
            if attempt.task.reference is None or attempt.completion is None
            else [*self._scores(0, next(matches), "exact"), *self._scores(2, next(matches), raw_mode)]
            for attempt in attempts
        ]

    def _scores(self, first: int, match: Match | str, mode: Mode) -> list[Score]:
        plain, rescaled = self.metrics[first : first + 2]
        if isinstance(match, str):
            reason = match.replace("candidate", "answer" if first else "code")
            return [Score(plain, None, reason), Score(rescaled, None, reason)]
        details = {**asdict(match), "mode": mode}
        return [Score(plain, details.pop("f1"), details=details), Score(rescaled, 2 * match.f1 - 1)]
