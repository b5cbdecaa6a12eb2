"""Where kernelwright keeps things on disk; ``KERNELWRIGHT_HOME`` moves all of it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """Folder of the archive: what must survive."""
    home = os.environ.get("KERNELWRIGHT_HOME")
    return Path(home) if home else Path(platformdirs.user_data_dir("kernelwright", appauthor=False))


def cache_dir() -> Path:
    """Folder of what can be made again: built kernels, measured peaks."""
    home = os.environ.get("KERNELWRIGHT_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("kernelwright", appauthor=False))
