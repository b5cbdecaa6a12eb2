"""A Llama-style language model out of a GGUF file, in plain PyTorch with low-bit products.

``python examples/gguf_llama.py MODEL.gguf "Once upon a time" [--tokens 64] [--threads 2]``

Everything that is slow is a :class:`kernelwright.nn.QuantLinear`; the rest is what any PyTorch user would write. Needs
the package ``tokenizers``. Models of the architecture "llama" with byte-level BPE (SmolLM2, for instance) run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from kernelwright.kernels.lowbit import GgufFile, QuantTensor, open_gguf
from kernelwright.nn import QuantLinear


class Llama(torch.nn.Module):
    """The network. ``plain`` dequantises every matrix to float32: the reference for the low-bit one."""

    def __init__(self, file: GgufFile, *, plain: bool = False) -> None:
        super().__init__()
        about = {key.removeprefix("llama."): value for key, value in file.metadata.items()}
        self.heads, self.kv_heads = about["attention.head_count"], about["attention.head_count_kv"]
        self.width, self.eps = about["embedding_length"], about["attention.layer_norm_rms_epsilon"]
        self.head_size = self.width // self.heads
        self.embedding = file.dequantize("token_embd.weight")
        head = "output.weight" if "output.weight" in file.tensors else "token_embd.weight"
        self.head = _linear(file, [head], plain)
        self.norm = file.dequantize("output_norm.weight")
        self.blocks = torch.nn.ModuleList(Block(file, f"blk.{i}.", self, plain) for i in range(about["block_count"]))
        powers = torch.arange(0, self.head_size, 2) / self.head_size
        angles = torch.outer(torch.arange(about["context_length"]).float(), about["rope.freq_base"] ** -powers)
        self.rotation = torch.stack([angles.cos(), angles.sin()], -1)

    def forward(self, tokens: torch.Tensor, cache: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Logits ``[T, vocabulary]`` of tokens ``[T]`` that follow what ``cache`` (one entry a block) holds."""
        cache = cache if cache is not None else self.cache()
        start = cache[0].shape[2]
        x = self.embedding[tokens]
        rotation = self.rotation[start : start + len(tokens)]
        for position, block in enumerate(self.blocks):
            x, cache[position] = block(x, rotation, cache[position])
        return self.head(F.rms_norm(x, (self.width,), self.norm, self.eps))

    def cache(self) -> list[torch.Tensor]:
        """An empty cache of keys and values: ``[2, kv heads, 0, head size]`` for each block."""
        return [torch.empty(2, self.kv_heads, 0, self.head_size) for _ in self.blocks]


class Block(torch.nn.Module):
    """Attention and a gated network, each behind a norm. Matrices that read the same input are one matrix here."""

    def __init__(self, file: GgufFile, at: str, model: Llama, plain: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = model.heads, model.kv_heads, model.head_size
        self.eps = model.eps
        self.norms = [file.dequantize(f"{at}{name}_norm.weight") for name in ("attn", "ffn")]
        self.qkv = _linear(file, [f"{at}attn_{name}.weight" for name in "qkv"], plain)
        self.out = _linear(file, [f"{at}attn_output.weight"], plain)
        self.up = _linear(file, [f"{at}ffn_{name}.weight" for name in ("gate", "up")], plain)
        self.down = _linear(file, [f"{at}ffn_down.weight"], plain)

    def forward(
        self, x: torch.Tensor, rotation: torch.Tensor, cache: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        joined = self.qkv(F.rms_norm(x, x.shape[-1:], self.norms[0], self.eps))
        q, k, v = joined.view(len(x), -1, self.head_size).split([self.heads, self.kv_heads, self.kv_heads], 1)
        q, k = (_rotated(part, rotation).transpose(0, 1) for part in (q, k))
        cache = torch.cat([cache, torch.stack([k, v.transpose(0, 1)])], 2)
        mixed = F.scaled_dot_product_attention(
            q[None], cache[0][None], cache[1][None], attn_mask=_causal(len(x), cache.shape[2]), enable_gqa=True
        )[0]
        x = x + self.out(mixed.transpose(0, 1).flatten(1))
        gate, up = self.up(F.rms_norm(x, x.shape[-1:], self.norms[1], self.eps)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up), cache


def _linear(file: GgufFile, names: list[str], plain: bool) -> torch.nn.Module:
    """One layer of one or several matrices of the file, below one another."""
    if plain:
        layer = torch.nn.Linear(1, 1, bias=False)
        layer.weight = torch.nn.Parameter(torch.cat([file.dequantize(name) for name in names]), requires_grad=False)
        return layer
    parts = [file.quantized(name) for name in names]
    offsets = [part.offset for part in parts if part.offset is not None]
    joined = QuantTensor(
        torch.cat([part.packed for part in parts]),
        torch.cat([part.scale for part in parts]),
        torch.cat(offsets) if offsets else None,
        parts[0].kind,
        (sum(part.shape[0] for part in parts), parts[0].shape[1]),
        parts[0].group_size,
    )
    return QuantLinear(joined)


def _rotated(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotary positions on neighbouring pairs: x ``[T, heads, size]``, rotation ``[T, size / 2, 2]``."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = rotation[:, None].unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def _causal(new: int, known: int) -> torch.Tensor | None:
    return None if new == 1 else torch.ones(new, known, dtype=torch.bool).tril(known - new)


def tokenizer(file: GgufFile):  # type: ignore[no-untyped-def]  # a class of an optional package
    """The file's byte-level BPE as a ``tokenizers.Tokenizer``."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words, kinds = file.metadata["tokenizer.ggml.tokens"], file.metadata["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in file.metadata["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(word) for word, kind in zip(words, kinds, strict=True) if kind == 3])
    return made


def greedy(model: Llama, tokens: list[int], count: int) -> tuple[list[int], float]:
    """``count`` tokens that follow, the likeliest each time, and how many a second (without the first)."""
    cache = model.cache()
    made = [int(model(torch.tensor(tokens), cache)[-1].argmax())]
    begin = time.perf_counter()
    while len(made) < count:
        made.append(int(model(torch.tensor(made[-1:]), cache)[-1].argmax()))
    return made, (count - 1) / (time.perf_counter() - begin)


def main() -> None:
    """Read, generate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with open_gguf(options.model) as file, torch.no_grad():
        model, words = Llama(file), tokenizer(file)
        model(torch.tensor(words.encode(options.prompt).ids))  # kernels are searched for once
        made, rate = greedy(model, words.encode(options.prompt).ids, options.tokens)
    print(options.prompt + words.decode(made))
    print(f"{rate:.0f} tokens a second on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
