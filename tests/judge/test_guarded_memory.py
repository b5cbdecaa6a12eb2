"""Memory that candidates write into: guarded, poisoned, used again by later cases, and never shared by two owners."""

from __future__ import annotations

import torch

from kernelwright.judge._candidate import GuardedMemory


def handed_out(memory: GuardedMemory, size: int = 100) -> torch.Tensor:
    memory.active = True
    return memory((size,), (1,), torch.float32)


def test_blocks_begin_as_nan_and_guards_see_what_is_written_beside_them() -> None:
    memory = GuardedMemory()
    block = handed_out(memory)
    assert bool(block.isnan().all())
    assert memory.intact()
    block.as_strided((101,), (1,))[100] = 1.0
    assert not memory.intact()


def test_results_of_one_case_lie_where_those_of_the_case_before_did() -> None:
    memory = GuardedMemory()
    place = handed_out(memory).data_ptr()
    memory.reclaim()
    again = handed_out(memory)
    assert again.data_ptr() == place
    assert bool(again.isnan().all())


def test_what_a_candidate_keeps_from_call_to_call_is_given_to_nobody_else() -> None:
    memory = GuardedMemory()
    workspace, result = handed_out(memory), handed_out(memory)
    kept, freed = workspace.data_ptr(), result.data_ptr()
    del result
    memory.reclaim()
    assert {handed_out(memory).data_ptr(), freed} == {freed}
    assert all(handed_out(memory).data_ptr() != kept for _ in range(3))
    workspace.as_strided((101,), (1,))[100] = 1.0  # its guards are still looked at
    assert not memory.intact()
