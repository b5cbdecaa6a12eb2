"""Targets build candidates, load them and make them callable."""

from ._extension import Extension, build_extension, extension_of
from ._load import SUBMITTED, TARGETS, carries_gradients, check_target, load
from ._native import decode, encode
from ._python import CLASS, Construction, PythonCandidate
from ._standalone import CALLABLE, Standalone, read_standalone, standalone
from .plan import (
    PLAN_MARK,
    PYTHON_PLAN_MARK,
    AtenCall,
    Backward,
    Candidate,
    EntryCall,
    InputSpec,
    Literal,
    Plan,
    SymbolSpec,
    TensorSpec,
    one_file,
    plan_from_json,
    plan_to_json,
)

__all__ = [
    "CALLABLE",
    "CLASS",
    "PLAN_MARK",
    "PYTHON_PLAN_MARK",
    "SUBMITTED",
    "TARGETS",
    "AtenCall",
    "Backward",
    "Candidate",
    "Construction",
    "EntryCall",
    "Extension",
    "InputSpec",
    "Literal",
    "Plan",
    "PythonCandidate",
    "Standalone",
    "SymbolSpec",
    "TensorSpec",
    "build_extension",
    "carries_gradients",
    "check_target",
    "decode",
    "encode",
    "extension_of",
    "load",
    "one_file",
    "plan_from_json",
    "plan_to_json",
    "read_standalone",
    "standalone",
]
