"""Stored runs that are damaged, from a newer version, or hold what is no JSON: one never hides the others."""

from __future__ import annotations

import copy
import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.store import (
    Run,
    add_judge,
    append_attempts,
    create_run,
    load_config,
    load_run,
    pack_run,
    runs_dir,
)
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.schema import LabError, Score
from pipeline.scoring import PARSES
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.sendable import sendable
from pipeline.settings import Settings
from tests.made_up_runs import CHRF, bare_settings, make_run
from ui.results.presenter import Presenter


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return bare_settings(tmp_path)


def strictly(text: str) -> Any:
    """Parse JSON as its standard has it: without NaN and infinity."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def lines(folder: Path) -> list[str]:
    return (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()


def pack(folder: Path) -> Path:
    """Replace the run's lines by the gzipped form of shipped runs; returns that file."""
    file = folder / "items.jsonl.gz"
    file.write_bytes(gzip.compress((folder / "items.jsonl").read_bytes()))
    (folder / "items.jsonl").unlink()
    return file


def swap_for_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def damage_gzip(folder: Path) -> None:
    file = pack(folder)
    content = bytearray(file.read_bytes())
    content[200:240] = b"x" * 40
    file.write_bytes(content)


def cut_gzip(folder: Path) -> None:
    file = pack(folder)
    file.write_bytes(file.read_bytes()[:300])


def with_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "run.json"
        raw = json.loads(file.read_text(encoding="utf-8"))
        changed = change(raw)
        file.write_text(json.dumps(raw if changed is None else changed), encoding="utf-8")

    return damage


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "run.json is cut off": lambda folder: (folder / "run.json").write_text('{"id": "x", "fam'),
    "run.json is empty": lambda folder: (folder / "run.json").write_text(""),
    "run.json is a list": lambda folder: (folder / "run.json").write_text("[]"),
    "run.json is nested too deep": lambda folder: (folder / "run.json").write_text("[" * 100_000),
    "run.json is not text": lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe\x00"),
    "run.json is a folder": lambda folder: swap_for_folder(folder / "run.json"),
    "run.json is missing": lambda folder: (folder / "run.json").unlink(),
    "a field is missing": with_config(lambda raw: raw.pop("sample_ids") and None),
    "no samples": with_config(lambda raw: raw.update(sample_ids=[])),
    "samples are one string": with_config(lambda raw: raw.update(sample_ids="abc")),
    "decoding is null": with_config(lambda raw: raw.update(decoding=None)),
    "judges are a list": with_config(lambda raw: raw.update(judges=["gpt-4o"])),
    "the size is text": with_config(lambda raw: raw.update(subset_size="many")),
    "the size is negative": with_config(lambda raw: raw.update(subset_size=-5)),
    "the variant is unknown": with_config(lambda raw: raw.update(variant="other")),
    "the temperature is NaN": with_config(lambda raw: raw["decoding"].update(temperature=float("nan"))),
    "the schema is newer": with_config(lambda raw: raw.update(schema=99)),
    "the schema is no number": with_config(lambda raw: raw.update(schema="new")),
    "items.jsonl is a folder": lambda folder: swap_for_folder(folder / "items.jsonl"),
    "40 bytes of items.jsonl.gz are damaged": damage_gzip,
    "items.jsonl.gz is cut off": cut_gzip,
    "items.jsonl.gz is empty": lambda folder: pack(folder).write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_run_is_listed_with_its_reason_and_hides_no_other(
    own: Settings, damage: Callable[[Path], Any]
) -> None:
    sound, bad = make_run(own, 0), make_run(own, 200)
    damage(bad.path)
    cache = RunCache(StoredRuns(own))
    assert [run.config.id for run in cache.stored.runs()] == [sound.config.id]
    (problem,) = cache.stored.problems()
    assert problem.startswith(f"{bad.path.name}: ")
    assert len(problem) > len(bad.path.name) + 20
    shown = Presenter(StoredRuns(own)).show("", "")
    assert bad.path.name in shown["runs"]
    assert "Traceback" not in shown["runs"]


def test_a_run_of_a_newer_version_is_refused_in_words(own: Settings) -> None:
    run = make_run(own, 200)
    with_config(lambda raw: raw.update(schema=99))(run.path)
    with pytest.raises(LabError, match=r"newer version.*Update"):
        load_run(run.path)
    with pytest.raises(LabError, match="newer version"):
        add_judge(run.path, JudgeConfig())


def test_a_file_in_the_place_of_the_runs_folder_hides_no_shipped_run(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path)
    runs_dir(own).write_text("")
    cache = RunCache(StoredRuns(own))
    assert cache.stored.runs()
    assert "runs: " in cache.stored.problems()[0]


def test_files_and_hidden_folders_beside_the_runs_are_no_runs(own: Settings) -> None:
    make_run(own, 0)
    (runs_dir(own) / "notes.txt").write_text("mine")
    (runs_dir(own) / ".being-made").mkdir()
    assert StoredRuns(own).problems() == []


def damaged_line(folder: Path, number: int, change: Callable[[dict[str, Any]], Any]) -> None:
    kept = lines(folder)
    raw = json.loads(kept[number])
    change(raw)
    kept[number] = json.dumps(raw)
    (folder / "items.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(scores=None),
        lambda raw: raw.update(scores=[1]),
        lambda raw: raw.update(completion="text"),
        lambda raw: raw.pop("instruction"),
        lambda raw: raw.update(sample_id=7),
        lambda raw: raw["scores"].update({CHRF: None}),
        lambda raw: raw["scores"][CHRF].update(value="high"),
        lambda raw: raw["scores"][CHRF].update(details=3),
        lambda raw: raw["completion"].update(finish_reason="tired"),
        lambda raw: raw["completion"].update(seconds=float("inf")),
    ],
)
def test_a_damaged_line_is_said_and_the_others_count(
    own: Settings, change: Callable[[dict[str, Any]], Any]
) -> None:
    run = make_run(own, 200, samples=6)
    damaged_line(run.path, 2, change)
    cache = RunCache(StoredRuns(own))
    (left,) = cache.stored.runs()
    assert set(left.attempts) == set(run.attempts) - {run.config.sample_ids[2]}
    (problem,) = cache.stored.problems()
    assert problem.startswith(f"{run.path.name}: 1 line ")
    assert "line 3" in problem


def test_half_a_line_at_the_end_is_no_damage_and_is_cut_off_by_the_next_writer(own: Settings) -> None:
    run = make_run(own, 200, samples=6, items=4)
    with (run.path / "items.jsonl").open("a") as file:
        file.write('{"sample_id": "pkg4/module_4.py::func')
    assert StoredRuns(own).problems() == []
    append_attempts(run.path, [next(iter(run.attempts.values()))])
    assert len(lines(run.path)) == 5
    assert all(strictly(line) for line in lines(run.path))
    assert load_run(run.path).attempts == run.attempts


def test_a_whole_last_line_without_a_line_end_is_kept(own: Settings) -> None:
    run = make_run(own, 200, samples=6)
    items = run.path / "items.jsonl"
    items.write_bytes(items.read_bytes().rstrip(b"\n"))
    append_attempts(run.path, [next(iter(run.attempts.values()))])
    assert load_run(run.path).attempts == run.attempts


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value; of a list the first item only."""
    yield path
    inner = (
        dict(enumerate(value[:1])) if isinstance(value, list) else value if isinstance(value, dict) else {}
    )
    for key, each in inner.items():
        yield from places(each, (*path, key))


WRONG = (None, True, -1, 2.5, float("nan"), float("inf"), 10**400, "", "text", [], [[1]], {}, {"a": [None]})


def mutations(raw: dict[str, Any]) -> Iterator[str]:
    """The value with one place missing, or something else in it."""
    for path in places(raw):
        if not path:
            continue
        for wrong in ("missing", *WRONG):
            changed = copy.deepcopy(raw)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if wrong == "missing":
                del inner[path[-1]]
            else:
                inner[path[-1]] = wrong
            yield json.dumps(changed)


@pytest.mark.parametrize("file", ["run.json", "items.jsonl"])
def test_whatever_stands_in_a_field_every_view_of_the_other_runs_works(own: Settings, file: str) -> None:
    make_run(own, 0, samples=8)
    bad = make_run(own, 200, samples=8)
    sound = (bad.path / file).read_text(encoding="utf-8")
    first, _, others = sound.partition("\n") if file == "items.jsonl" else (sound, "", "")
    presenter = Presenter(StoredRuns(own))
    for number, text in enumerate(mutations(json.loads(first))):
        (bad.path / file).write_text(f"{text}\n{others}", encoding="utf-8")
        runs = {run.config.subset_size for run in StoredRuns(own).runs()}
        assert 0 in runs
        if number % 23 == 0:  # a whole page takes longer; 23, as the wrong values repeat
            shown = presenter.show("", CHRF)
            setup = presenter.runs.setup("")
            presenter.sample(setup.key, bad.config.sample_ids[0], "nothing", "")
            for kind in ("CSV", "JSON"):
                strictly(
                    Path(presenter.export(kind, setup.key, CHRF, "")).read_text()
                ) if kind == "JSON" else None
            assert shown["runs"]


# What is kept


def test_a_run_that_goes_on_on_another_engine_names_both(own: Settings) -> None:
    run = make_run(own, 0)
    for engine in ("SmolLM2 · bfloat16 · CPU", "SmolLM2 · float32 · CPU", "SmolLM2 · bfloat16 · CPU", ""):
        create_run(run.path.parent, replace(run.config, engine=engine))
    assert load_config(run.path).engine.endswith("SmolLM2 · bfloat16 · CPU, then SmolLM2 · float32 · CPU")


def test_a_rewritten_config_keeps_the_fields_that_this_version_does_not_know(own: Settings) -> None:
    run = make_run(own, 200)
    with_config(lambda raw: raw.update(note="mine", decoding={**raw["decoding"], "top_k": 40}))(run.path)
    add_judge(run.path, JudgeConfig(model="other"))
    raw = json.loads((run.path / "run.json").read_text())
    assert raw["note"] == "mine"
    assert raw["decoding"]["top_k"] == 40
    assert "CodeJudge naive (other)" in raw["judges"]


def test_a_packed_run_keeps_the_fields_that_this_version_does_not_know(own: Settings, tmp_path: Path) -> None:
    run = make_run(own, 200, samples=4, dataset="arxivdl")
    damaged_line(run.path, 1, lambda raw: raw.update(note="mine"))
    append_attempts(
        run.path, [replace(run.attempts[run.config.sample_ids[1]], scores={"new": Score("new", 1.0)})]
    )
    packed = pack_run(run.path, tmp_path / "shipped")
    second = json.loads(gzip.decompress((packed / "items.jsonl.gz").read_bytes()).splitlines()[1])
    assert second["note"] == "mine"
    assert {CHRF, "new"} <= set(second["scores"])
    assert load_run(packed).attempts == load_run(run.path).attempts


def test_a_run_of_version_0_1_is_brought_up_to_date_when_it_is_resumed(own: Settings) -> None:
    run = make_run(own, 200)
    file = run.path / "run.json"
    raw = json.loads(file.read_text())
    old = {name: value for name, value in raw.items() if name not in ("schema", "judges")}
    file.write_text(json.dumps({**old, "judge": {}}))
    assert load_config(run.path) == replace(run.config, judges={})
    create_run(runs_dir(own), run.config)
    new = json.loads(file.read_text())
    assert new == {**raw, "judges": {}}


# Numbers that are none


def stored(run: Run, *scores: Score) -> dict[str, Any]:
    """What the store makes of these scores: the raw line."""
    attempt = next(iter(run.attempts.values()))
    append_attempts(run.path, [replace(attempt, scores={score.metric: score for score in scores})])
    return dict(strictly(lines(run.path)[-1])["scores"])


def test_a_number_that_is_not_finite_is_never_stored(own: Settings) -> None:
    run = make_run(own, 200, samples=2)
    scores = stored(run, Score("a", float("nan")), Score("b", 1.0, details={"x": [float("inf")]}))
    assert scores["a"]["value"] is None
    assert "not a finite number" in scores["a"]["reason"]
    assert scores["b"] == {"metric": "b", "value": 1.0, "reason": None, "details": {"x": [None]}}


def test_a_stored_score_has_no_digits_that_mean_nothing(own: Settings) -> None:
    scores = stored(make_run(own, 200, samples=2), Score("a", 0.20383745431900024), Score("b", 1234567.0))
    assert (scores["a"]["value"], scores["b"]["value"]) == (0.203837, 1234570.0)


def test_no_export_has_digits_that_mean_nothing(own: Settings) -> None:
    make_run(own, 0, samples=12)
    make_run(own, 200, samples=12)
    presenter = Presenter(StoredRuns(own))
    key = presenter.runs.setup("").key
    for kind in ("CSV", "JSON"):
        text = Path(presenter.export(kind, key, CHRF, "")).read_text(encoding="utf-8")
        assert "." in text
        assert re.findall(r"\d\.\d{9,}", text) == []


def test_a_score_that_version_0_1_stored_as_nan_is_unscored_with_the_reason(own: Settings) -> None:
    run = make_run(own, 200, samples=2)
    damaged_line(run.path, 0, lambda raw: raw["scores"][CHRF].update(value=float("nan")))
    score = load_run(run.path).attempts[run.config.sample_ids[0]].scores[CHRF]
    assert score.value is None
    assert "not a finite number" in str(score.reason)


@pytest.mark.parametrize(("metric", "value"), [(CHRF, 1e308), (CHRF, -7.0), (PARSES, 1.5)])
def test_a_score_outside_its_metric_s_range_is_unscored_with_the_reason(
    own: Settings, metric: str, value: float
) -> None:
    run = make_run(own, 200, samples=2)
    damaged_line(run.path, 0, lambda raw: raw["scores"].update({metric: {"metric": metric, "value": value}}))
    score = load_run(run.path).attempts[run.config.sample_ids[0]].scores[metric]
    assert score.value is None
    assert "its range is 0 to" in str(score.reason)


@pytest.mark.parametrize("size", [-1, 10**30])
def test_a_number_of_training_samples_that_cannot_be_is_refused(own: Settings, size: int) -> None:
    run = make_run(own, 200, samples=2)
    file = run.path / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "subset_size": size}))
    with pytest.raises(LabError, match="subset_size: it is not from 0 to"):
        load_run(run.path)


def test_a_number_that_readers_of_json_do_not_know_is_sent_as_null() -> None:
    assert sendable([2**63 - 1, 2**63, float("nan"), True]) == [2**63 - 1, None, None, True]


def test_half_a_surrogate_pair_in_an_output_stops_no_evaluation(own: Settings) -> None:
    run = make_run(own, 200, samples=2)
    attempt = run.attempts[run.config.sample_ids[0]]
    append_attempts(run.path, [replace(attempt, code="print('\ud83d')")])
    assert load_run(run.path).attempts[run.config.sample_ids[0]].code == "print('\N{REPLACEMENT CHARACTER}')"


def test_a_config_of_the_run_is_what_it_was_made_of(own: Settings) -> None:
    run = make_run(own, 200)
    raw = json.loads((run.path / "run.json").read_text())
    assert raw.pop("schema") == 3
    assert raw == json.loads(json.dumps(asdict(run.config)))


def test_a_run_that_is_deleted_meanwhile_is_no_problem(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(own, 0)
    gone = make_run(own, 200)
    listed = RunCache(StoredRuns(own))
    shutil.rmtree(gone.path)
    monkeypatch.setattr("pipeline.evaluation.stored_runs.list_runs", lambda _: [gone.path])
    assert listed.stored.runs() == []
    assert listed.stored.problems() == []
