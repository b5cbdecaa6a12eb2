"""GGUF files: blocks against their formulas written out one weight at a time, and files that lie."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from kernelwright.errors import GgufInvalid, KernelwrightError
from kernelwright.kernels.lowbit import open_gguf

CODES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}
BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "Q4_K": 144, "Q5_K": 176, "Q6_K": 210}
HALVES = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Where 16-bit floats lie in a block; elsewhere at 0."""


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], keys: bytes = b"", count: int = 0) -> bytes:
    """A file of version 3: tensors by name as (form, shape in PyTorch's order, bytes), and encoded metadata."""
    entries, data = b"", b""
    for name, (form, shape, raw) in tensors.items():
        sizes = b"".join(struct.pack("<Q", size) for size in shape[::-1])
        entries += text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", CODES[form], len(data))
        data += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + keys + entries
    return head + bytes(-len(head) % 32) + data


def blocks(form: str, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (count, BYTES[form]), dtype=np.uint8)
    for at in HALVES.get(form, (0,)):
        made[:, at : at + 2] = rng.normal(size=(count, 1)).astype(np.float16).view(np.uint8)
    return made


def half(block: np.ndarray, at: int) -> float:
    return float(block[at : at + 2].view(np.float16)[0])


def weight_of(form: str, block: np.ndarray, i: int) -> float:
    """Weight ``i`` of a block, from the format's definition, in the plainest words."""
    b = [int(x) for x in block]
    if form in ("Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        at = {"Q4_0": 2, "Q4_1": 4, "Q5_0": 6, "Q5_1": 8}[form]
        code = b[at + i % 16] >> 4 * (i // 16) & 15
        if form[1] == "5":
            code |= (b[at - 4 + i // 8] >> i % 8 & 1) << 4
        if form[-1] == "1":
            return half(block, 0) * code + half(block, 2)
        return half(block, 0) * (code - (8 if form == "Q4_0" else 16))
    if form == "Q8_0":
        return half(block, 0) * (b[2 + i] - 256 * (b[2 + i] > 127))
    if form in ("Q4_K", "Q5_K"):
        j = i // 32
        if j < 4:
            scale, least = b[4 + j] & 63, b[8 + j] & 63
        else:
            scale, least = b[8 + j] & 15 | b[j] >> 6 << 4, b[8 + j] >> 4 | b[4 + j] >> 6 << 4
        low = (16 if form == "Q4_K" else 48) + 32 * (i // 64) + i % 32
        code = b[low] >> 4 * (j % 2) & 15
        if form == "Q5_K":
            code |= (b[16 + i % 32] >> j & 1) << 4
        return half(block, 0) * scale * code - half(block, 2) * least
    part, run, at = i // 128, i % 128 // 32, i % 32
    code = b[64 * part + 32 * (run % 2) + at] >> 4 * (run // 2) & 15
    code |= (b[128 + 32 * part + at] >> 2 * run & 3) << 4
    scale = b[192 + i // 16] - 256 * (b[192 + i // 16] > 127)
    return half(block, 208) * scale * (code - 32)


@pytest.mark.parametrize("form", BYTES)
def test_blocks_mean_what_their_definition_says(form: str, tmp_path: Path) -> None:
    made = blocks(form, 6)
    width = 256 if form.endswith("K") else 32
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf({"w": (form, (3, 2 * width), made.tobytes())}))
    want = torch.tensor([[weight_of(form, block, i) for i in range(width)] for block in made]).reshape(3, 2 * width)
    with open_gguf(path) as file:
        torch.testing.assert_close(file.dequantize("w"), want, rtol=1e-6, atol=1e-6)
        assert torch.equal(file.quantized("w").dequantize(), file.dequantize("w"))


def test_metadata_and_plain_tensors_are_read(tmp_path: Path) -> None:
    keys = text("name") + struct.pack("<I", 8) + text("käse")
    keys += text("sizes") + struct.pack("<IIQ", 9, 4, 3) + struct.pack("<3I", 5, 6, 7)
    keys += text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("")
    keys += text("yes") + struct.pack("<IB", 7, 1) + text("x") + struct.pack("<If", 6, 1.5)
    x = torch.randn(2, 3, 4)
    path = tmp_path / "model.gguf"
    tensors = {"x": ("F32", (2, 3, 4), x.numpy().tobytes()), "h": ("F16", (5,), torch.ones(5).half().numpy().tobytes())}
    path.write_bytes(gguf(tensors, keys, 5))
    with open_gguf(path) as file:
        assert dict(file.metadata) == {"name": "käse", "sizes": [5, 6, 7], "words": ["a", ""], "yes": True, "x": 1.5}
        assert torch.equal(file.dequantize("x"), x)
        assert file.dequantize("h").tolist() == [1.0] * 5
        with pytest.raises(GgufInvalid, match="has no tensor 'y'"):
            file.dequantize("y")
        with pytest.raises(GgufInvalid, match="only matrices in blocks"):
            file.quantized("x")


def example() -> bytes:
    keys = text("a.name") + struct.pack("<I", 8) + text("value")
    keys += text("a.list") + struct.pack("<IIQ", 9, 5, 4) + struct.pack("<4i", 1, 2, 3, 4)
    tensors = {
        "w": ("Q4_0", (2, 64), blocks("Q4_0", 4).tobytes()),
        "k": ("Q6_K", (1, 256), blocks("Q6_K", 1).tobytes()),
        "n": ("F32", (7,), np.arange(7, dtype=np.float32).tobytes()),
    }
    return gguf(tensors, keys, 2)


def test_a_file_cut_anywhere_gets_a_sentence(tmp_path: Path) -> None:
    whole = example()
    path = tmp_path / "cut.gguf"
    for end in range(len(whole.rstrip(b"\0")) - 4):
        path.write_bytes(whole[:end])
        with pytest.raises(GgufInvalid):
            open_gguf(path)


def test_lies_are_survived(tmp_path: Path) -> None:
    """Whatever bytes are changed: a sentence, or tensors that lie inside the file and have the size they claim."""
    whole = example()
    path = tmp_path / "lie.gguf"
    draw = random.Random(0)
    read = 0
    for _ in range(10_000):
        made = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 4, 16))):
            at = draw.randrange(len(made) if draw.random() < 0.2 else 400)
            made[at] = draw.choice((0, 1, 255, 127, 128, draw.randrange(256)))
        path.write_bytes(bytes(made[: draw.choice((len(made), len(made), draw.randrange(len(made)))) or None]))
        with contextlib.suppress(KernelwrightError), open_gguf(path) as file:
            for name, about in file.tensors.items():
                assert 0 <= about.offset <= about.offset + about.size <= len(made)
                assert file.dequantize(name).shape == about.shape
            read += 1
    assert 1000 < read < 9000  # the test is of both kinds of file


def test_what_is_no_gguf_file_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    with pytest.raises(GgufInvalid, match="cannot be read"):
        open_gguf(path)
    path.write_bytes(b"")
    with pytest.raises(GgufInvalid, match="cannot be read"):
        open_gguf(path)
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(GgufInvalid, match="does not begin with the letters GGUF"):
        open_gguf(path)
    path.write_bytes(b"GGUF" + struct.pack(">I", 3) + bytes(64))
    with pytest.raises(GgufInvalid, match="versions 2 and 3, little endian"):
        open_gguf(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + bytes(64))
    with pytest.raises(GgufInvalid, match="promises"):
        open_gguf(path)
