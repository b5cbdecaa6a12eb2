"""Shared objects that somebody else built: they travel as base64 text, and the file they are loaded from is removed."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import BuildFailed, SubmissionInvalid
from .cpu import Allocate, Launcher
from .plan import EntryCall, Plan


def encode(binary: bytes) -> str:
    """The source text of a candidate that is a shared object."""
    return base64.b64encode(binary).decode("ascii")


def decode(source: str) -> bytes:
    """The inverse of :func:`encode`; raises ``SubmissionInvalid``."""
    try:
        return base64.b64decode(source, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SubmissionInvalid(f"The shared object of a candidate is not base64 text ({error}).") from None


def load_native(source: str, plan: Plan, state: Mapping[str, torch.Tensor], allocate: Allocate) -> Callable[..., Any]:
    """Load a shared object as a candidate's entries. Runs its initialisers: only where it may do harm to nobody."""
    descriptor, name = tempfile.mkstemp(prefix="kernelwright-", suffix=".so")
    try:
        with open(descriptor, "wb") as file:
            file.write(decode(source))
        os.chmod(name, 0o700)
        return load_blind(Path(name), plan, state, allocate)
    finally:
        os.unlink(name)  # what is mapped stays


def load_blind(library: Path, plan: Plan, state: Mapping[str, torch.Tensor], allocate: Allocate) -> Callable[..., Any]:
    """Bind a library whose entries check nothing; raises ``BuildFailed`` when it lacks one or cannot be loaded."""
    try:
        return Launcher(plan, library, state, allocate, blind=True).call
    except AttributeError as error:
        names = ", ".join(f"__tvm_ffi_{step.entry}" for step in plan.steps if isinstance(step, EntryCall))
        raise BuildFailed(f"The shared object lacks an entry ({names}), or does not export it.") from error
    except (OSError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise BuildFailed(f"The shared object cannot be loaded: {text}") from error
