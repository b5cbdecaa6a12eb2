"""How a module of other names and forms comes by the reference's parameters, and what it cannot follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kernelwright.targets._parameters import Parameters


class Net(nn.Module):
    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "weight": torch.randn(4, 3, 5, generator=generator),
        "bias": torch.randn(4, generator=generator),
    }


def redraw(state: dict[str, Tensor]) -> None:
    for tensor in state.values():
        tensor.normal_()


def test_equal_names_share_memory(state: dict[str, Tensor]) -> None:
    net = Net(weight=torch.zeros(4, 3, 5), bias=torch.zeros(4))
    assert Parameters(net, state).missing == ()
    redraw(state)
    assert torch.equal(net.weight, state["weight"])
    assert net.bias.data_ptr() == state["bias"].data_ptr()


def test_tensors_of_its_own_besides_are_left_alone(state: dict[str, Tensor]) -> None:
    net = Net(weight=torch.zeros(4, 3, 5), bias=torch.zeros(4), mask=torch.ones(7))
    assert Parameters(net, state).missing == ()
    assert torch.equal(net.mask, torch.ones(7))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_turned_and_renamed_tensors_follow(state: dict[str, Tensor], axes: tuple[int, ...]) -> None:
    net = Net(w=state["weight"].permute(axes).contiguous(), b=state["bias"].clone())
    parameters = Parameters(net, state)
    assert parameters.missing == ()
    redraw(state)
    parameters.follow()
    assert torch.equal(net.w, state["weight"].permute(axes))
    assert net.w.is_contiguous()
    assert torch.equal(net.b, state["bias"])


def test_joined_axes_follow(state: dict[str, Tensor]) -> None:
    net = Net(w=state["weight"].permute(2, 1, 0).reshape(15, 4), bias=state["bias"].clone())
    parameters = Parameters(net, state)
    redraw(state)
    parameters.follow()
    assert torch.equal(net.w, state["weight"].permute(2, 1, 0).reshape(15, 4))


def test_equal_tensors_are_matched_in_order() -> None:
    state = {"first.weight": torch.ones(3), "second.weight": torch.ones(3)}
    net = Net(a=torch.ones(3), b=torch.ones(3))
    parameters = Parameters(net, state)
    redraw(state)
    parameters.follow()
    assert torch.equal(net.a, state["first.weight"])
    assert torch.equal(net.b, state["second.weight"])


def test_tied_tensors_are_both_followed(state: dict[str, Tensor]) -> None:
    net = Net(a=state["bias"].clone(), b=state["bias"].clone(), weight=state["weight"].clone())
    assert Parameters(net, state).missing == ()
    redraw(state)
    assert torch.equal(net.a, state["bias"])
    assert torch.equal(net.b, state["bias"])


def test_other_values_are_missing(state: dict[str, Tensor]) -> None:
    net = Net(w=state["weight"] * 2, b=state["bias"].clone())
    net.hidden = [state["weight"].clone()]
    assert Parameters(net, state).missing == ("weight",)


def test_another_dtype_is_not_followed(state: dict[str, Tensor]) -> None:
    net = Net(weight=state["weight"].double(), bias=state["bias"].clone())
    assert Parameters(net, state).missing == ("weight",)


def test_its_own_load_state_dict_is_called_at_every_change(state: dict[str, Tensor]) -> None:
    class Packed(Net):
        def load_state_dict(self, given, strict=True, assign=False):  # type: ignore[no-untyped-def]
            self.all.copy_(torch.cat([given["weight"].flatten(), given["bias"]]))

    net = Packed(all=torch.zeros(64))
    parameters = Parameters(net, state)
    assert parameters.missing == ()
    redraw(state)
    parameters.follow()
    assert torch.equal(net.all, torch.cat([state["weight"].flatten(), state["bias"]]))


def test_what_load_state_dict_gets_is_a_copy(state: dict[str, Tensor]) -> None:
    class Greedy(Net):
        def load_state_dict(self, given, strict=True, assign=False):  # type: ignore[no-untyped-def]
            given["bias"].zero_()

    before = state["bias"].clone()
    Parameters(Greedy(), state)
    assert torch.equal(state["bias"], before)


def test_a_hook_before_loading_counts_as_a_way(state: dict[str, Tensor]) -> None:
    class Hooked(Net):
        def __init__(self) -> None:
            super().__init__(w=torch.zeros(4, 3, 5), b=torch.zeros(4))
            self.register_load_state_dict_pre_hook(self._rename)

        @staticmethod
        def _rename(module, given, *rest):  # type: ignore[no-untyped-def]
            given["w"], given["b"] = given.pop("weight"), given.pop("bias")

    net = Hooked()
    assert Parameters(net, state).missing == ()
    assert torch.equal(net.w, state["weight"])
