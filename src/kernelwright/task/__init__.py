"""Tasks: what must be computed, read from a user's PyTorch code, with inputs to draw and a cost to compare with."""

from kernelwright.task._aten import AtenGraph
from kernelwright.task._cost import cost, measured_cost
from kernelwright.task._gradients import Differentiated, Gradients, Started, WithGradients, asked_gradients
from kernelwright.task._inputs import STRUCTURES, Character, characterise, clone, redraw, resample
from kernelwright.task._load import from_callable, from_source, in_domain, init_inputs, load, module_state, with_dtype
from kernelwright.task._probe import footprint
from kernelwright.task._scale import shrink
from kernelwright.task._task import Cost, DynamicSize, Reference, Task

__all__ = [
    "STRUCTURES",
    "AtenGraph",
    "Character",
    "Cost",
    "Differentiated",
    "DynamicSize",
    "Gradients",
    "Reference",
    "Started",
    "Task",
    "WithGradients",
    "asked_gradients",
    "characterise",
    "clone",
    "cost",
    "footprint",
    "from_callable",
    "from_source",
    "in_domain",
    "init_inputs",
    "load",
    "measured_cost",
    "module_state",
    "redraw",
    "resample",
    "shrink",
    "with_dtype",
]
