"""The library: data, prompts, generation, scores, statistics. It never imports gradio."""
