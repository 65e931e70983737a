"""The study of the engines' precisions, on two samples and a short model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maintenance.precision_study import precision_study
from pipeline.generation import int8
from pipeline.models.families import Family
from pipeline.settings import Settings

pytest.importorskip("openvino")


def test_each_engine_is_compared_with_transformers(
    linked: Settings, family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(linked.data_dir))
    monkeypatch.setattr(int8, "LARGE", 1)
    file = tmp_path / "precision.json"
    precision_study(family.name, ("baseline/regular", "200/regular"), 2, 6, output=file)
    stored = json.loads(file.read_text())
    assert "transformers" in stored["reference"]["engine"]
    own, eight = stored["engines"]
    assert "OpenVINO" in own["engine"]
    assert "int8 weights" in eight["engine"]
    for each in (own, eight):
        assert 0 <= each["share_with_equal_tokens"] <= 1
        assert abs(each["bits_per_byte_difference"]["mean"]) < 0.1
