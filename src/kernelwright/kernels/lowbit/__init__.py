"""Weight-only quantised matrices: number types of 1 to 8 bits, their packing, quantisers and file formats."""

from __future__ import annotations

from ._binary import binary_code
from ._checkpoints import from_affine, from_awq, from_gptq, to_awq, to_gptq
from ._entry import ACTIVATIONS, MOST_ROWS, check_activation, check_floats
from ._gguf import GgufFile, GgufTensor, open_gguf
from ._lut import LutProduct, TiledBinary, counts_candidate, looks_up, lut_candidate, tile_binary, tileable_binary
from ._pack import pack, packed_size, unpack
from ._product import Product, candidate
from ._quantise import gptq, half_quadratic, round_to_nearest
from ._sparse import compress, expand, two_of_four
from ._tensor import BinaryTensor, QuantTensor, to_binary
from ._tiles import TiledWeight, tile, tileable, untiled
from ._types import LowBitType, all_types, dt

__all__ = [
    "ACTIVATIONS",
    "MOST_ROWS",
    "BinaryTensor",
    "GgufFile",
    "GgufTensor",
    "LowBitType",
    "LutProduct",
    "Product",
    "QuantTensor",
    "TiledBinary",
    "TiledWeight",
    "all_types",
    "binary_code",
    "candidate",
    "check_activation",
    "check_floats",
    "compress",
    "counts_candidate",
    "dt",
    "expand",
    "from_affine",
    "from_awq",
    "from_gptq",
    "gptq",
    "half_quadratic",
    "looks_up",
    "lut_candidate",
    "open_gguf",
    "pack",
    "packed_size",
    "round_to_nearest",
    "tile",
    "tile_binary",
    "tileable",
    "tileable_binary",
    "to_awq",
    "to_binary",
    "to_gptq",
    "two_of_four",
    "unpack",
    "untiled",
]
