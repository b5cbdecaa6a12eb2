"""Search: the loop that turns a task into a winner, and the kernel that serves it."""

from ._baselines import COMPILE, COMPILE_AUTOTUNE, EAGER
from ._clock import process_start
from ._drive import Listener, Proposer, find
from ._effort import EFFORTS, Effort
from ._generate import generate_task
from ._here import device_of, target_here
from ._kernel import Kernel, generate
from ._models import Models
from ._outcome import Event, Outcome, Trial, Unmeasured

__all__ = [
    "COMPILE",
    "COMPILE_AUTOTUNE",
    "EAGER",
    "EFFORTS",
    "Effort",
    "Event",
    "Kernel",
    "Listener",
    "Models",
    "Outcome",
    "Proposer",
    "Trial",
    "Unmeasured",
    "device_of",
    "find",
    "generate",
    "generate_task",
    "process_start",
    "target_here",
]
