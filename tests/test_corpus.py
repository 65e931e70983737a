import ast
import errno
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.data.packages import corpus as build
from pipeline.data.packages.corpus import Corpus, cache_path, load_corpus
from pipeline.data.packages.docstrings import clean, parse
from pipeline.data.packages.harvest import definitions, in_place, is_own_source, plain_text
from pipeline.generation.prompts import context_around
from pipeline.schema import LabError
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
MODULE = '''
import math


class Ring(Base):
    """A ring buffer of fixed size that drops its oldest entry."""

    size: int

    def push(self, item, *, front=False):
        """Add an item to the buffer and drop the oldest one.

        Args:
            item: what is to be kept
            front (bool): whether to add it at the front

        Returns:
            `bool`: whether something was dropped.
        """

        full = len(self.items) == self.size
        if full:
            self.items.pop(0 if not front else -1)

        self.items.insert(0 if front else len(self.items), item)
        return full


def area(radius):
    """See `Ring` for more information on this."""
    first = math.pi * radius * radius
    second = round(first, 10)
    return max(first, second)
'''


@pytest.fixture(scope="session")
def corpus(settings: Settings) -> Corpus:
    return load_corpus(settings)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of the smallest package only, where the whole one would take half a minute."""
    monkeypatch.setattr(build, "PACKAGES", ("gguf",))


BODY = """
    def share(self, tensor):
        self.shared.append(tensor)
        return self.shared[-1] if self.shared else None
"""


def found(code: str, name: str):
    return next((row for row in definitions(code) if row.name == name), None)


def instruction_for(docstring: str, header: str = "def scale(x, factor=2.0):") -> str | None:
    body = "y = x * factor\nassert y is not None, 'a line that makes this long enough to be a row'\nreturn y"
    inside = textwrap.indent(f'"""{docstring}"""\n{body}\n', "    ")
    rows = definitions(f"{header}\n{inside}")
    return rows[0].instruction if rows else None


# What a definition becomes


def test_a_function_is_dedented_and_loses_its_docstring_with_the_blank_lines_behind_it():
    assert found(MODULE, "Ring.push").function.startswith(
        "def push(self, item, *, front=False):\n    full = len(self.items) == self.size\n"
    )


def test_a_class_loses_the_docstrings_of_its_methods_too():
    ring = found(MODULE, "Ring")
    assert '"""' not in ring.function
    assert ast.parse(ring.function).body[0].name == "Ring"


def test_what_is_put_back_in_place_gives_the_file_without_those_docstrings():
    for row in definitions(MODULE):
        whole = MODULE[: row.start] + in_place(row.function, row.indent) + MODULE[row.end :]
        lost = [line for line in MODULE.split("\n") if line not in whole.split("\n")]
        assert lost
        assert all(line.startswith(('    """', "        ")) for line in lost)
        ast.parse(whole)


def test_an_instruction_names_signature_class_arguments_and_result():
    assert found(MODULE, "Ring.push").instruction == (
        "Write a method `push(self, item, *, front=False)` of the class `Ring` to add an item to the buffer "
        "and drop the oldest one. Args: `item`: what is to be kept; `front`: whether to add it at the front. "
        "Returns: `bool`: whether something was dropped."
    )


def test_a_class_instruction_names_bases_methods_and_fields():
    assert found(MODULE, "Ring").instruction == (
        "Write a class `Ring(Base)`: A ring buffer of fixed size that drops its oldest entry. "
        "Methods: `push(self, item, *, front=False)`. Fields: `size`."
    )


def test_the_description_of_a_class_is_read_as_a_noun():
    code = 'class Pool(Base):\n    """Pool implementation which shares its tensors."""\n' + BODY
    assert found(code, "Pool").instruction.startswith(
        "Write a class `Pool(Base)`: Pool implementation which shares its tensors."
    )


def test_a_second_sentence_that_repeats_the_first_is_left_out():
    assert instruction_for("Disable fake quantization for the module. Disable it for the module.") == (
        "Write a function `scale(x, factor=2.0)` to disable fake quantization for the module."
    )


def test_a_method_that_uses_its_class_is_marked_and_no_other():
    assert found(MODULE, "Ring.push").needs_class
    assert not found(MODULE, "Ring").needs_class


def test_documentation_decorators_are_taken_out_as_docstrings_are():
    code = (
        '@auto_docstring(custom_intro="""Prose.""")\nclass Pool(Base):\n    """A pool of shared tensors."""\n'
    )
    assert found(code + BODY, "Pool").function.startswith("class Pool(Base):")


@pytest.mark.parametrize(
    "docstring",
    [
        "Args:\n    x: the input tensor of the layer that is to be scaled",
        "See `Ring` for more information on this.",
        "TODO: say what this does some day, please.",
        "Same as above.",
        "Scale it.",
        "Args:\n    x: input",
        "{intro_docstring} that is filled in at run time",
    ],
)
def test_a_docstring_that_describes_nothing_makes_no_row(docstring: str):
    assert instruction_for(docstring) is None


@pytest.mark.parametrize(
    "docstring",
    [
        "Args:\n    x (Tensor): the input tensor\n\nReturns:\n    the scaled tensor",
        "Parameters\n----------\nx : Tensor\n    the input tensor\n\nReturns\n-------\nthe scaled tensor",
        ":param Tensor x: the input tensor\n:return: the scaled tensor",
        "Args:\n    - **x** (`Tensor`) -- the input tensor\n\n.. note:: slow\n\nReturns:\n    the scaled "
        "tensor\n\nExample::\n\n    >>> scale(x)\n    2",
    ],
    ids=["google", "numpy", "sphinx", "bold with example"],
)
def test_every_docstring_style_gives_the_same_instruction(docstring: str):
    assert instruction_for("Scales a tensor by a factor.\n\n" + docstring) == (
        "Write a function `scale(x, factor=2.0)` that scales a tensor by a factor. "
        "Args: `x`: the input tensor. Returns: the scaled tensor."
    )


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        (":class:`~torch.nn.Module` and :func:`torch.abs`", "`Module` and `torch.abs`"),
        ("a [`~Trainer.train`] of ``x``", "a `train` of `x`"),
        ("**bold** and *slanted* words", "bold and slanted words"),
        ("`the paper <https://arxiv.org/abs/1>`_ and [this](https://a.b)", "the paper and this"),
        ("a * b * c stays, <pad> stays", "a * b * c stays, <pad> stays"),
        ("allow only alphanumerics, `-` and `_`.", "allow only alphanumerics, `-` and `_`."),
        ("the `guide`_ and `other`__", "the guide and other"),
        ("the name ` label ` of it", "the name `label` of it"),
        ("an instance of ['Tokenizer`]", "an instance of ['Tokenizer]"),
    ],
)
def test_markup_becomes_plain_words(marked: str, plain: str):
    assert clean(marked) == plain


def test_arguments_without_a_heading_are_still_arguments():
    doc = parse(
        "\n    labels (`torch.LongTensor` of shape `(n,)`, *optional*):\n        Labels for the loss.\n    "
    )
    assert doc.description == ""
    assert doc.arguments == {"labels": "Labels for the loss."}


STUB = '''
def stub(a, b):
    """Adds two numbers and gives back what they make."""
    raise NotImplementedError("a message that makes this long enough to be a row otherwise")
'''
ONE_LINE = """
def one(a): "Adds one to a number, on a single line."; b = a + 1; c = b * 2; d = c - b; return d + b - c + a
"""
STRING_ON_THE_LEFT = '''
class Page:
    def left(self):
        """Gives back some text of two lines that is long."""
        return f"""<h1>{self.title}</h1>
<p>a line that stands left of the function, so that dedenting would change the string</p>"""
'''


@pytest.mark.parametrize("code", [STUB, ONE_LINE, STRING_ON_THE_LEFT])
def test_what_has_no_body_or_cannot_be_cut_out_cleanly_makes_no_row(code: str):
    assert ast.parse(code)
    assert definitions(code) == []


def test_files_that_are_not_python_of_today_make_no_rows():
    assert definitions("print 'hello'") == []


def test_line_ends_and_byte_order_marks_change_nothing():
    assert plain_text(b"\xef\xbb\xbf" + MODULE.replace("\n", "\r\n").encode()) == MODULE


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("torch/nn/modules/linear.py", True),
        ("torch/_vendor/packaging/version.py", False),
        ("torch/testing/_internal/common.py", False),
        ("torch/version.py", False),
        ("accelerate/test_utils/training.py", False),
        ("transformers/testing_utils.py", False),
        ("huggingface_hub/inference/_generated/types/base.py", False),
        ("torch/lib/libtorch.so", False),
    ],
)
def test_vendored_test_generated_and_version_files_are_left_out(path: str, own: bool):
    assert is_own_source(path) is own


# The whole corpus


def test_the_corpus_is_large_and_holds_nothing_twice(corpus: Corpus):
    samples = [(corpus.ids[i], corpus.instruction(i), corpus.rows[i].function) for i in range(len(corpus))]
    assert len(samples) >= 13_000
    for column in zip(*samples, strict=True):
        assert len(set(column)) == len(samples)


def test_every_function_is_python_of_the_right_length_without_a_docstring(corpus: Corpus):
    for row in corpus.rows:
        (definition,) = ast.parse(row.function).body
        assert 80 <= len(row.function) <= 1000
        assert definition.name == row.name.rpartition(".")[2]
        assert ast.get_docstring(definition) is None, row.name


def test_every_instruction_is_one_clean_line_that_names_what_to_write(corpus: Corpus):
    for row in corpus.rows:
        assert len(row.instruction) <= 600
        assert row.instruction.startswith(("Write a ", "Write an "))
        assert f"`{row.name.rpartition('.')[2]}" in row.instruction
        assert not re.search(r"\n|\t|  |>>>|``", row.instruction), row.instruction
    marked = [row for row in corpus.rows if re.search(r":[a-z]+:`|\[`~", row.instruction)]
    assert len(marked) < 5  # docstrings whose own markup is broken, such as :class:`torch.Size'


def test_the_hole_is_exact_and_neither_body_nor_docstring_is_left_in_it(corpus: Corpus):
    for index in range(0, len(corpus), 10):
        sample, row = corpus.sample(index), corpus.rows[index]
        place = in_place(sample.function, row.indent)
        context = context_around(sample.full_code, sample.function)
        assert context.before == sample.full_code[: row.start]
        assert context.after == sample.full_code[row.start + len(place) :].replace(place, "")
        assert place not in context.before + context.after


def test_a_samples_file_is_python_and_its_length_is_told(corpus: Corpus):
    for index in range(0, len(corpus), 500):
        sample = corpus.sample(index)
        ast.parse(sample.full_code)
        assert sample.file_length == len(sample.full_code)
        assert sample.id == f"{sample.repo}/{sample.file}::{sample.function_name}"


# The same everywhere, and what is kept on disk


def test_the_rows_do_not_depend_on_the_process_or_on_hash_seeds():
    program = (
        "from pipeline.data.packages.corpus import harvest; "
        "print(harvest(['sacrebleu']).schema.metadata[b'fingerprint'].decode())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == build.harvest(["sacrebleu"]).schema.metadata[b"fingerprint"].decode() + "\n"


def test_the_cuda_build_of_a_version_has_the_same_key(monkeypatch: pytest.MonkeyPatch, settings: Settings):
    here = cache_path(settings)
    real = build.distribution

    class Cuda:
        version = real("torch").version.partition("+")[0] + "+cu130"

    monkeypatch.setattr(build, "distribution", lambda name: Cuda if name == "torch" else real(name))
    assert cache_path(settings) == here
    Cuda.version = "0.0.1"
    assert cache_path(settings) != here


@pytest.mark.usefixtures("small")
def test_a_second_opening_reads_what_the_first_one_wrote(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    told: list[str] = []
    first = load_corpus(settings, lambda share, words: told.append(words))
    assert told
    told.clear()
    second = load_corpus(settings, lambda share, words: told.append(words))
    assert not told
    assert second.fingerprint == first.fingerprint
    assert [second.sample(i) for i in range(len(second))] == [first.sample(i) for i in range(len(first))]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("<html>not found</html>"),
        lambda path: pq.write_table(pq.read_table(path, columns=["repo", "file"]), path),
        flip_a_byte,
    ],
    ids=["cut short", "empty", "another file", "other columns", "one byte flipped"],
)
def test_a_damaged_file_is_built_again(tmp_path: Path, damage):
    settings = Settings(data_dir=tmp_path)
    good = load_corpus(settings).fingerprint
    damage(cache_path(settings))
    assert load_corpus(settings).fingerprint == good
    given = Settings(data_dir=tmp_path / "other", corpus_path=cache_path(settings))
    assert load_corpus(given).fingerprint == good


@pytest.mark.usefixtures("small")
def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabError, match="the disk is full"):
        load_corpus(Settings(data_dir=tmp_path))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.usefixtures("small")
def test_a_data_folder_that_is_a_file_is_said_in_words(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(LabError, match="could not be written"):
        load_corpus(Settings(data_dir=tmp_path / "taken"))


def test_two_processes_that_build_at_once_do_no_harm(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path\n"
        "from pipeline.data.packages import corpus; from pipeline.settings import Settings\n"
        "corpus.PACKAGES = ('gguf',)\n"
        "print(corpus.load_corpus(Settings(data_dir=Path(sys.argv[1]))).fingerprint)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_a_missing_package_is_named():
    with pytest.raises(LabError, match="no-such-package is not installed"):
        build.harvest(["no-such-package"])


# A corpus from another machine, and the command


@pytest.mark.usefixtures("small")
def test_a_given_file_or_its_folder_is_read_instead_of_harvesting(tmp_path: Path):
    made = load_corpus(Settings(data_dir=tmp_path))
    file = cache_path(Settings(data_dir=tmp_path))
    for given in (file, file.parent):
        elsewhere = Settings(data_dir=tmp_path / "unused", corpus_path=given)
        assert load_corpus(elsewhere).fingerprint == made.fingerprint
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("content", [None, b"not parquet"], ids=["missing", "damaged"])
def test_a_given_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    given = tmp_path / "given.parquet"
    if content is not None:
        given.write_bytes(content)
    with pytest.raises(LabError, match=r"given\.parquet"):
        load_corpus(Settings(data_dir=tmp_path, corpus_path=given))


def test_the_command_prints_one_json_line(corpus: Corpus, settings: Settings):
    command = [sys.executable, "-m", "pipeline.corpus"]
    env = {**os.environ, "RCL_DATA_DIR": str(settings.data_dir)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["fingerprint"]) == (len(corpus), corpus.fingerprint)


def test_the_command_fails_in_words(tmp_path: Path):
    env = {**os.environ, "RCL_CORPUS": str(tmp_path / "none.parquet")}
    command = [sys.executable, "-m", "pipeline.corpus"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "none.parquet" in done.stderr
    assert "Traceback" not in done.stderr
    assert subprocess.run([*command, "--nonsense"], cwd=ROOT, capture_output=True).returncode == 2


def test_the_documented_share_of_answerable_instructions_is_that_of_the_labels() -> None:
    study = json.loads((ROOT / "assets/studies/answerable.json").read_text())
    labels = study["second_edition"]["labels"]
    yes = [label for label in labels if label["answerable"]]
    whole = [label for label in labels if not label["needs_class"]]
    removed = study["removed_from_the_first_edition"]["labels"]
    text = " ".join((ROOT / "docs/method.md").read_text().split())
    assert f"{len(yes)} of {len(labels)}" in text
    assert f"{len([each for each in yes if not each['needs_class']])} of the {len(whole)} rows" in text
    assert f"Of {len(removed)} random rows" in text
    assert f"{sum(each['answerable'] for each in removed)} were answerable" in text
