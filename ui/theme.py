"""Colors and type of the page, its first lines, and how it is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pipeline.settings import ASSETS, Settings
from ui.gate import Gate
from ui.page_cache import PageCache
from ui.refusals import Refusals
from ui.views import KEYS

CSS: list[Path] = [ASSETS / name for name in ("app.css", "checkpoints.css", "jobs.css", "results.css")]
HEAD: Path = ASSETS / "head.html"
LOGO: Path = ASSETS / "logo.svg"


def theme() -> gr.themes.Base:
    """A quiet theme: bundled fonts, one accent, thin lines."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        # Bold rather than the default's semi-bold, whose bundled files lack most letters.
        font=(gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=(gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    ).set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0e1320",
        body_text_color_subdued="#5b6675",
        body_text_color_subdued_dark="#9aa7ba",
        input_placeholder_color="#6b7686",
        input_placeholder_color_dark="#8b98ac",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_padding="0px",
        block_title_text_weight="700",
        block_title_text_size="*text_sm",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_info_text_color="#5b6675",
        block_info_text_color_dark="#9aa7ba",
        block_info_text_size="*text_sm",
        button_small_text_size="*text_sm",
        input_background_fill="white",
        input_background_fill_dark="#101724",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_border_color="#ccd4de",
        input_border_color_dark="#344058",
        input_radius="8px",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_600",
        checkbox_border_color_selected="*primary_700",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_hover="transparent",
        checkbox_label_background_fill_hover_dark="transparent",
        checkbox_label_background_fill_selected="transparent",
        checkbox_label_background_fill_selected_dark="transparent",
        checkbox_label_border_width="0px",
        checkbox_label_border_width_dark="0px",
        checkbox_label_padding="*spacing_xs 0",
        checkbox_label_gap="*spacing_xl",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#1b2436",
        button_secondary_background_fill_hover="#eef2f6",
        button_secondary_background_fill_hover_dark="#243048",
        button_secondary_border_color="#ccd4de",
        button_secondary_border_color_dark="#344058",
        button_border_width="1px",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )


def masthead() -> str:
    """The page's first lines."""
    return (
        f'<div class="masthead">{LOGO.read_text(encoding="utf-8")}<div><h1>Research Code Lab</h1>'
        "<p>How much does fine-tuning help a language model write AI research code, "
        "and how much data does it take?</p></div></div>"
    )


def opening() -> str:
    """What the page shows until Gradio has built its components."""
    return (ASSETS / "opening.html").read_text(encoding="utf-8").replace("KEYS", json.dumps(KEYS))


def launch(settings: Settings) -> dict[str, Any]:
    """The arguments of ``Blocks.launch``."""
    return {
        "theme": theme(),
        "css_paths": CSS,
        "head_paths": HEAD,
        "favicon_path": str(LOGO),
        "footer_links": ["api", "settings"],
        "run_history": False,
        "mcp_server": True,
        "max_threads": 200,  # each comparison that waits or runs needs one
        "state_session_capacity": 2_000,
        "app_kwargs": {
            "middleware": [
                Middleware(Gate, settings=settings),
                Middleware(PageCache, opening=opening()),
                Middleware(Refusals),
            ]
        },
    }
