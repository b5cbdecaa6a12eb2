"""Search: the loop that turns a task into a winner, and the kernel that serves it."""

from ._generate import EFFORTS, Effort, Listener, generate_task
from ._kernel import Kernel, generate, state_of
from ._outcome import Event, Outcome, Trial
from ._propose import COMPILE, COMPILE_AUTOTUNE, EAGER, CompilerProposer

__all__ = [
    "COMPILE",
    "COMPILE_AUTOTUNE",
    "EAGER",
    "EFFORTS",
    "CompilerProposer",
    "Effort",
    "Event",
    "Kernel",
    "Listener",
    "Outcome",
    "Trial",
    "generate",
    "generate_task",
    "state_of",
]
