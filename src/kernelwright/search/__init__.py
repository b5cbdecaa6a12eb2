"""Search: the loop that turns a task into a winner, and the kernel that serves it."""

from ._baselines import COMPILE, COMPILE_AUTOTUNE, EAGER
from ._generate import EFFORTS, Effort, Listener, generate_task
from ._kernel import Kernel, generate
from ._outcome import Event, Outcome, Trial

__all__ = [
    "COMPILE",
    "COMPILE_AUTOTUNE",
    "EAGER",
    "EFFORTS",
    "Effort",
    "Event",
    "Kernel",
    "Listener",
    "Outcome",
    "Trial",
    "generate",
    "generate_task",
]
