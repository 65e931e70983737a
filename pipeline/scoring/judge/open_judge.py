"""Open a judge: the client of its server, or a family of ours in our own engine."""

from __future__ import annotations

from pipeline.generation import check_can_run, open_engine
from pipeline.models.families import get_family
from pipeline.models.weights import base_model_dir
from pipeline.schema import LabError, Progress
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.local import LocalJudge, judging
from pipeline.scoring.judge.questions import JudgeModel
from pipeline.settings import Settings
from pipeline.spending import open_purse, require_price


def check_judge(settings: Settings, config: JudgeConfig, report: Progress) -> None:
    """Check that the judge has what it needs, before hours of work; a family's base model is downloaded.

    Raises:
        LabError: its key or, under a budget, its price is missing, or the family's base model is not here,
            cannot be downloaded or cannot run here.
    """
    if config.local:
        family = get_family(settings, config.model)
        check_can_run(settings, family)
        base_model_dir(settings, family, report)
        return
    if config.at_openai and not settings.judge_key:
        raise LabError(
            "The judge needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server without one. A "
            "family of ours needs none: --judge-model qwen2.5-coder-1.5b."
        )
    if open_purse(settings, settings.judge_key, config.base_url):
        require_price(settings, config.model, config.base_url)


def open_judge(settings: Settings, config: JudgeConfig, report: Progress, run: str = "") -> JudgeModel:
    """Open the judge; a family's model is loaded when the first question is asked.

    Args:
        settings: of this installation.
        config: the judge.
        report: hears of the loading.
        run: the run whose answers are judged, for its budget.

    Raises:
        LabError: the key is missing, or the cache of answers or the ledger cannot be used.
    """
    cache = settings.data_dir / "judge-cache"
    if not config.local:
        purse = open_purse(settings, settings.judge_key, config.base_url, run)
        return JudgeClient(config, settings.judge_key, cache, purse=purse)
    family = judging(get_family(settings, config.model), config)
    return LocalJudge(config, lambda: open_engine(settings, family, report), cache)
