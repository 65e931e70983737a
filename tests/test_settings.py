"""The settings that the environment gives."""

from __future__ import annotations

import pytest

from pipeline.schema import LabError
from pipeline.settings import Settings


def test_the_gpus_are_those_that_cuda_may_use() -> None:
    for text, gpus in ((None, None), ("", ()), ("-1", ()), ("0, 2", ("0", "2"))):
        env = {} if text is None else {"CUDA_VISIBLE_DEVICES": text}
        assert Settings.from_env(env).gpus == gpus


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", ""),
        ("PORT", "²"),
        ("PORT", "65536"),
        ("PORT", "9" * 5_000),
        ("RCL_JOBS_AT_ONCE", "²"),
        ("RCL_JOBS_AT_ONCE", "0"),
        ("RCL_DATA_DIR", "~no-such-user/data"),
        ("RCL_CORPUS", "~no-such-user/data"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(LabError, match=name):
        Settings.from_env({name: value})
