import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.arxivdl import load_arxivdl as arxivdl
from pipeline.data.dataset import Dataset
from pipeline.data.duplicates import copy_key
from pipeline.evaluation.datasets import load_dataset
from pipeline.models.checkpoints import SIZES
from pipeline.models.families import get_family
from pipeline.schema import LabError, Sample
from pipeline.settings import Settings
from ui.dataset.samples import list_page
from ui.lab import Lab


@pytest.fixture(scope="module")
def packages(settings: Settings) -> Dataset:
    return load_dataset(settings, "packages")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that stands in for the hub's dataset: its columns, lengths around the protocol's limits."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    draw = random.Random(0)
    rows = []
    for number in range(1500):
        function = f"def f{number}(x):\n    return x" + " + x" * draw.choice([1, 100, 242, 243, 244, 400])
        rows.append(
            {
                "prompt": f"Write a function f{number} that adds x to itself.",
                "description": "adds",
                "function": function,
                "function_name": f"f{number}",
                "function_summary": "adds",
                "repo": f"lab/repo{number % 7}",
                "file": f"src/m{number % 40}.py",
                "full_code": "import torch\n\n" + function + "\n",
                "file_length": draw.choice([100, 4999, 5000, 5001, 90_000]),
            }
        )
    folder = tmp_path / "ArXivDLInstruct"
    folder.mkdir()
    datasets.Dataset.from_list(rows).to_parquet(folder / "train.parquet")
    return str(folder)


# The embedded dataset


def test_every_size_of_the_ladder_can_be_trained_and_200_samples_evaluated(packages: Dataset):
    assert len(packages.subset(max(SIZES))) == max(SIZES)
    assert len(packages.evaluation()) == 200


def test_every_smaller_subset_is_a_prefix_of_every_larger_one(packages: Dataset):
    largest = packages.subset(1500)
    for size in (100, 200, 500, 1000):
        assert packages.subset(size)[:].ids == largest[:size].ids
    assert packages.subset(2)[1] == largest[1]


def test_the_order_is_not_the_order_of_the_files(packages: Dataset):
    assert {sample.repo for sample in packages.subset(30)} >= {"torch", "transformers"}


def test_train_and_test_share_no_sample_text_or_top_level_definition(packages: Dataset):
    def units(ids) -> set[str]:
        return {each.partition("::")[0] + "::" + each.partition("::")[2].partition(".")[0] for each in ids}

    assert units(packages.train.ids).isdisjoint(units(packages.test.ids))
    train, test = (
        {(sample.prompt, sample.function) for sample in side}
        for side in (packages.train[:1000], packages.test[:500])
    )
    assert {prompt for prompt, _ in train}.isdisjoint(prompt for prompt, _ in test)
    assert {function for _, function in train}.isdisjoint(function for _, function in test)
    assert 0.15 < len(packages.test) / (len(packages.test) + len(packages.train)) < 0.25


def test_loading_again_gives_the_same_split_and_order(packages: Dataset, settings: Settings):
    again = load_dataset(settings, "packages", "augmented")
    assert (again.fingerprint, again.train.ids, again.test.ids) == (
        packages.fingerprint,
        packages.train.ids,
        packages.test.ids,
    )


@pytest.mark.parametrize("n", [0, -1, 1_000_000])
def test_a_subset_that_there_is_not_is_refused_in_words(packages: Dataset, n: int):
    with pytest.raises(LabError, match="training samples"):
        packages.subset(n)
    with pytest.raises(LabError, match="test samples"):
        packages.evaluation(n)


def test_a_sample_of_either_split_is_found_by_its_id(packages: Dataset):
    for split in (packages.train, packages.test):
        assert packages.get(split.ids[7]) == split[7]
    with pytest.raises(LabError, match="no/such"):
        packages.get("no/such.py::thing")


def test_a_search_looks_for_every_word_in_instruction_name_repo_and_file_whatever_its_case(packages: Dataset):
    sample = packages.test[3]
    for text in (
        sample.prompt.upper(),
        sample.function_name.lower(),
        sample.file,
        f"{sample.file} {sample.repo}",
    ):
        assert sample in [packages.test[index] for index in packages.matches(text)]
    hits = packages.search("ATTENTION mask", limit=5)
    assert 0 < len(hits) <= 5
    assert all({"attention", "mask"} <= _words(sample) for sample in hits)
    assert packages.search("no sample holds zzzqqq") == []


def _words(sample: Sample) -> set[str]:
    text = f"{sample.prompt} {sample.id}".lower()
    return {word for word in ("attention", "mask") if word in text}


def test_pages_of_a_search_follow_one_another(packages: Dataset):
    pages = [packages.search("", limit=4, offset=offset) for offset in (0, 4)]
    assert pages[0] + pages[1] == packages.search("", limit=8) == list(packages.test[:8])


def test_an_unknown_dataset_is_refused_with_those_there_are(settings: Settings):
    with pytest.raises(LabError, match="packages, arxivdl"):
        load_dataset(settings, "imagenet")


# The published dataset


@pytest.mark.parametrize("variant", ["regular", "augmented"])
def test_filter_split_and_test_samples_are_those_of_the_published_evaluation(published: str, variant):
    rows = datasets.load_dataset(published, split="train").filter(lambda row: len(row["function"]) <= 1000)
    if variant == "augmented":
        rows = rows.filter(lambda row: row["file_length"] <= 5000)
    expected = rows.train_test_split(test_size=0.2, seed=42)
    ours = arxivdl(variant, published)
    chosen = expected["test"].shuffle(seed=42).select(range(100))
    assert [sample.function for sample in ours.evaluation(100)] == chosen["function"][:]
    assert [sample.prompt for sample in ours.evaluation(100)] == chosen["prompt"][:]
    assert sorted(sample.function for sample in ours.train) == sorted(expected["train"]["function"])
    assert len(ours.test) == len(expected["test"])


def test_published_rows_become_samples_with_ids_that_both_variants_share(published: str):
    regular, augmented = arxivdl("regular", published), arxivdl("augmented", published)
    sample = augmented.test[0]
    number = int(sample.function_name.removeprefix("f"))
    assert sample.id == f"arxivdl/{number}"
    assert (sample.repo, sample.file) == (f"lab/repo{number % 7}", f"src/m{number % 40}.py")
    assert sample.function in sample.full_code
    assert regular.get(sample.id) == sample
    assert regular.fingerprint != augmented.fingerprint == arxivdl("augmented", published).fingerprint


def test_published_rows_can_be_searched(published: str):
    ours = arxivdl("regular", published)
    name = ours.test[5].function_name
    assert name in [sample.function_name for sample in ours.search(f"{name} ADDS lab/repo", limit=1000)]


def test_columns_beside_the_needed_ones_may_be_absent(published: str, tmp_path: Path):
    needed = ["prompt", "function", "full_code", "file_length"]
    folder = tmp_path / "bare"
    folder.mkdir()
    rows = datasets.load_dataset(published, split="train")
    rows.select_columns(needed).to_parquet(folder / "train.parquet")
    assert arxivdl("regular", str(folder)).test[0].repo == ""
    rows.select_columns(needed[:2]).to_parquet(folder / "train.parquet")
    with pytest.raises(LabError, match="file_length, full_code"):
        arxivdl("regular", str(folder))


def rows_of(*changes: dict[str, Any], number: int = 12) -> list[dict[str, Any]]:
    """Rows that share nothing, with these changes to the first ones."""
    rows = [
        {
            "prompt": f"Write f{i}.",
            "function": f"def f{i}():\n    return {i}",
            "full_code": f"import os\n\ndef f{i}():\n    return {i}\n",
            "file_length": 40,
        }
        for i in range(number)
    ]
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
    return rows


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], str]:
    """Writes rows into a folder that the loader takes."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(rows: list[dict[str, Any]]) -> str:
        folder = tmp_path / "own"
        folder.mkdir()
        datasets.Dataset.from_list(rows).to_parquet(folder / "train.parquet")
        return str(folder)

    return write


def size(dataset: Dataset) -> int:
    return len(dataset.train) + len(dataset.test)


@pytest.mark.parametrize("variant", ["regular", "augmented"])
@pytest.mark.parametrize("column", ["prompt", "function", "full_code"])
def test_rows_without_a_needed_text_are_left_out_and_counted(own, column: str, variant):
    dataset = arxivdl(variant, own(rows_of({column: None}, {column: None})))
    assert size(dataset) == 10
    assert "before the split: 2 rows without" in " ".join(dataset.notes)


@pytest.mark.parametrize("column", ["prompt", "function"])
def test_rows_with_an_empty_text_are_left_out_and_counted(own, column: str):
    dataset = arxivdl("regular", own(rows_of({column: ""}, {column: " \n"})))
    assert size(dataset) == 10
    assert "after the split: 2 rows with an empty" in " ".join(dataset.notes)


def test_a_row_with_an_empty_function_moves_no_other_row(own, published: str):
    rows = rows_of(number=40)
    folder = own(rows)
    before = arxivdl("regular", folder)
    shutil.rmtree(folder)
    gone = int(before.test.ids[1].removeprefix("arxivdl/"))
    rows[gone]["function"] = ""
    after = arxivdl("regular", own(rows))
    assert after.test.ids == [before.test.ids[0], *before.test.ids[2:]]
    assert after.train.ids == before.train.ids


@pytest.mark.parametrize("variant", ["regular", "augmented"])
def test_a_file_length_that_is_missing_is_counted_from_the_file(own, variant):
    dataset = arxivdl(
        variant, own(rows_of({"file_length": None}, {"file_length": None, "full_code": "x" * 6000}))
    )
    assert size(dataset) == (12 if variant == "regular" else 11)
    assert {len(sample.full_code) for sample in dataset.train} >= {dataset.get("arxivdl/0").file_length}


@pytest.mark.parametrize("length", [float("nan"), float("inf")])
def test_a_file_length_that_is_not_finite_is_counted_from_the_file(own, tmp_path: Path, length: float):
    folder = own(rows_of())
    table = pq.read_table(f"{folder}/train.parquet")
    lengths = pa.array([length] * 2 + [40.0] * 10)
    at = table.schema.get_field_index("file_length")
    pq.write_table(table.set_column(at, "file_length", lengths), f"{folder}/train.parquet")
    assert size(arxivdl("augmented", folder)) == 12


@pytest.mark.parametrize("length", [-1, 0, -1.5])
def test_a_file_length_below_one_is_counted_from_the_file(own, length: float):
    rows = rows_of(*[{"file_length": type(length)(40)}] * 12)
    rows[0] |= {"file_length": length, "full_code": "x" * 6000}
    folder = own(rows)
    assert size(arxivdl("augmented", folder)) == 11
    assert arxivdl("regular", folder).get("arxivdl/0").file_length == 6000


def test_a_dataset_without_any_file_length_is_read(own):
    assert size(arxivdl("augmented", own(rows_of(*[{"file_length": None}] * 12)))) == 12


def test_a_column_that_is_called_as_our_own_is_in_nobodys_way(own):
    dataset = arxivdl("regular", own([{**row, "row": 7} for row in rows_of()]))
    assert len({*dataset.train.ids, *dataset.test.ids}) == 12


def test_an_empty_dataset_file_is_named_with_a_reason(tmp_path: Path):
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(LabError, match=r"cannot be read: \w+"):
        arxivdl("regular", str(tmp_path))


def test_a_folder_that_cannot_be_read_is_not_blamed_on_the_network(tmp_path: Path):
    (tmp_path / "train.parquet").write_bytes(b"")
    with pytest.raises(LabError, match="cannot be read") as raised:
        arxivdl("regular", str(tmp_path))
    assert "Hugging Face" not in str(raised.value)
    assert "SSL" not in str(raised.value)


def test_copies_that_differ_in_white_space_at_the_end_of_lines_are_copies():
    assert copy_key("Do it.\r\n", "def f():\r\n    return 1 \n") == copy_key(
        "Do it.", "def f():\n    return 1"
    )
    assert copy_key("Do it.", "if x:\n    y") != copy_key("Do it.", "if x:\ny")


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_rows_for_a_split_are_refused_in_words(own, number: int):
    rows = rows_of(*[{"function": "x" * 2000}] * (12 - number))
    with pytest.raises(LabError, match=r"at least 2 .* at most 1,000 characters"):
        arxivdl("regular", own(rows))


def test_a_dataset_of_empty_functions_is_refused_in_words(own):
    with pytest.raises(LabError, match="too few rows"):
        arxivdl("regular", own(rows_of(*[{"function": ""}] * 12)))


@pytest.mark.parametrize(
    ("column", "value"),
    [("function", 7), ("prompt", ["a"]), ("full_code", {"a": 1}), ("file_length", "long")],
)
def test_a_column_of_another_type_is_named(own, column: str, value: Any):
    with pytest.raises(LabError, match=rf"column {column}.* (text|numbers)"):
        arxivdl("augmented", own(rows_of(*[{column: value}] * 12)))


def test_other_types_beside_the_needed_columns_become_text(own):
    dataset = arxivdl("regular", own(rows_of(*[{"repo": 7, "file": None, "function_name": 1.5}] * 12)))
    sample = dataset.test[0]
    assert (sample.repo, sample.file, sample.function_name) == ("7", "", "1.5")
    assert dataset.search("write 7") == list(dataset.test[:])


def test_copies_on_both_sides_of_the_split_are_counted_and_stay(own):
    twin = rows_of()[0]
    same = {"prompt": twin["prompt"], "function": twin["function"]}
    rows = rows_of(*[same] * 8, *[{"function": "def other(): pass"}] * 8, number=40)
    dataset = arxivdl("regular", own(rows))
    assert size(dataset) == 40
    train = {sample.function for sample in dataset.train}
    copies = sum(sample.function in train for sample in dataset.test)
    (note,) = dataset.notes
    assert f"{copies} of the 8 test samples" in note
    assert copies > 0


def test_the_dataset_tab_shows_the_notes(own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = own(rows_of({"prompt": None}))
    monkeypatch.setattr("pipeline.evaluation.datasets.load_arxivdl", partial(arxivdl, source=source))
    lab = Lab(Settings(data_dir=tmp_path))
    data = lab.dataset(get_family(lab.settings, "llama-3.1-8b"), "regular").result()
    page = list_page(data, data.matches())
    assert "Left out before the split: 1 row without" in page.html


def test_without_copies_there_is_nothing_to_say(own):
    assert arxivdl("regular", own(rows_of())).notes == ()


def test_without_the_hub_the_reason_and_the_way_out_are_said(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(LabError, match="packages, needs no network"):
        load_dataset(settings, "arxivdl")


def test_a_word_that_a_search_repeats_costs_no_more(packages: Dataset):
    packages.matches("a")
    began = time.process_time()
    assert packages.matches("a " * 100_000) == packages.matches("a")
    assert time.process_time() - began < 2
