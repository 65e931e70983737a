"""OpenVINO GenAI or llama.cpp (cyllama) as a child process: it loads a GGUF file, and writes when told to.

Run by tests/bench/engine.py with the Python of another environment, which need not have the lab's packages:
``python peers.py NAME FILE PROMPT TOKENS``. It prints ``ready``; for each line that it reads it writes one
answer, greedy and with no end before the limit, and prints the number of its tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def open_genai(file: str, prompt: str, tokens: int) -> Callable[[], int]:
    """OpenVINO GenAI's own pipeline on the file."""
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(file, "CPU")
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.do_sample, config.ignore_eos = tokens, False, True
    config.apply_chat_template = False

    def write() -> int:
        pipeline.generate(prompt, config)
        return tokens

    return write


def open_llama_cpp(file: str, prompt: str, tokens: int) -> Callable[[], int]:
    """Through cyllama; an answer that ends early counts as long as it is."""
    from cyllama import LLM, GenerationConfig

    model = LLM(file, GenerationConfig(max_tokens=tokens, temperature=0.0))

    def write() -> int:
        return sum(1 for _ in model(prompt, stream=True))

    return write


PEERS = {"OpenVINO GenAI": open_genai, "llama.cpp": open_llama_cpp}


def main(name: str, file: str, prompt: str, tokens: str) -> None:
    """Load, and write whenever a line comes."""
    write = PEERS[name](file, prompt, int(tokens))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(write(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
