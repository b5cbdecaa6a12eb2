"""What a code generator hands to the module assembler: one C++ function per kernel."""

from __future__ import annotations

from dataclasses import dataclass

from ..program import Size


@dataclass(frozen=True)
class KernelCode:
    """One generated kernel.

    ``source`` is complete C++ at namespace scope, ending in ``static void NAME(POINTERS, SYMBOLS, char* scratch)``:
    one pointer per name in ``tensors`` (``const`` when only read), one ``int64_t`` per name in ``symbols``, and the
    scratch pointer (64-byte aligned) only when ``scratch`` (bytes, of all threads together) is not 0. A kernel without
    source calls the ``function`` of another one. With ``when``, the name of a bool tensor of one element, it is called
    only where that holds.
    """

    name: str
    source: str
    tensors: tuple[str, ...]
    symbols: tuple[str, ...]
    scratch: Size = 0
    function: str = ""
    when: str = ""

    @property
    def touched(self) -> tuple[str, ...]:
        """Every tensor that a call needs."""
        return (*self.tensors, self.when) if self.when else self.tensors
