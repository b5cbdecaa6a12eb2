"""A graph of ATen operations as a module that any process can rebuild without torch's compiler stack."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn


class AtenGraph(nn.Module):
    """Runs the Python text of a graph; its constant tensors are buffers.

    Pickling a ``torch.fx.GraphModule`` traces it again when it is read, which imports a large part of torch and takes
    seconds; here only the text and the constants travel.
    """

    def __init__(self, code: str, names: Mapping[str, Any], constants: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.code, self.names = code, dict(names)
        for name, tensor in constants.items():
            self.register_buffer(name, tensor.detach())
        self._bind()

    @classmethod
    def of(cls, module: fx.GraphModule) -> AtenGraph:
        """The same graph; every attribute that it reads must be a tensor of the module itself."""
        code = module.graph.python_code("self")
        names = {name: value for name, value in code.globals.items() if not isinstance(value, ModuleType)}
        used = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
        return cls(code.src, names, {name: getattr(module, name) for name in used})

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self._run(self, *tensors)

    def _bind(self) -> None:
        scope: dict[str, Any] = {"torch": torch, **self.names}
        exec(compile(self.code, "<aten graph>", "exec"), scope)
        self._run = scope["forward"]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_run"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._bind()


__all__ = ["AtenGraph"]
