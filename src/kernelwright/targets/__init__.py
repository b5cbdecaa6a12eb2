"""Targets build candidates, load them and make them callable."""

from ._load import TARGETS, check_target, load
from .plan import (
    AtenCall,
    Candidate,
    EntryCall,
    InputSpec,
    Literal,
    Plan,
    SymbolSpec,
    TensorSpec,
    plan_from_json,
    plan_to_json,
)

__all__ = [
    "TARGETS",
    "AtenCall",
    "Candidate",
    "EntryCall",
    "InputSpec",
    "Literal",
    "Plan",
    "SymbolSpec",
    "TensorSpec",
    "check_target",
    "load",
    "plan_from_json",
    "plan_to_json",
]
