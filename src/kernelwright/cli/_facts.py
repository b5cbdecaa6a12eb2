"""What every document and report says about where it was made: the machine, its measured peaks, the versions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelwright.machine import Peaks
    from kernelwright.report import Ceilings


@dataclass(frozen=True)
class Facts:
    """``machine`` and ``versions`` as they stand in a document; ``measured`` are the peaks."""

    machine: dict[str, Any]
    versions: dict[str, str]
    measured: Peaks

    def ceilings(self, dtype: str) -> Ceilings:
        """The bounds of a task of this dtype."""
        from kernelwright.report import Ceilings

        return Ceilings(self.measured.copy * 1e9, self.measured.flops(dtype))

    def shown(self) -> dict[str, Any]:
        """The machine with numbers as people read them."""
        from kernelwright.report import readable_machine

        return readable_machine(self.machine)


def gather(*, refresh: bool = False) -> Facts:
    """Describe this machine; peaks are measured the first time (a few seconds) and read from the cache later."""
    from kernelwright.machine import describe, fingerprint, peaks, versions

    machine = describe()
    measured = peaks(refresh=refresh)
    content = {**asdict(machine), "fingerprint": fingerprint(machine), "peaks": asdict(measured)}
    return Facts(content, versions(), measured)
