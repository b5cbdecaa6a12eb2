"""NVIDIA GPUs through Triton: interpreted in the judge's worker, compiled ahead of time, launched on a GPU."""

from ._module import become_interpreter, check_installed, load_triton
from ._occupancy import SimtTile, blocks_per_sm, occupancy, register_bound, simt_tiles, suits
from ._report import BuildReport, KernelBuild, predict, report, reports, toolchain

__all__ = [
    "BuildReport",
    "KernelBuild",
    "SimtTile",
    "become_interpreter",
    "blocks_per_sm",
    "check_installed",
    "load_triton",
    "occupancy",
    "predict",
    "register_bound",
    "report",
    "reports",
    "simt_tiles",
    "suits",
    "toolchain",
]
