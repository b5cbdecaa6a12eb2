"""The same idea for networks: every round trains a new one on the true targets and on the last one's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....errors import ZooInvalid
from ._filter import optimal_mix

Batches = Iterable[tuple[Tensor, Tensor]]
_LOSSES = ("mse-softmax", "kl")


class DistillationLoss(nn.Module):
    """mix * loss(student, labels) + (1 - mix) * loss(student, teacher), from logits ``[n, classes]``.

    ``mse-softmax`` is the mean squared difference of probabilities (the paper's); ``kl`` is cross-entropy against the
    labels and, with softened probabilities, temperature² times the divergence from the teacher. No gradient reaches the
    teacher. Without a teacher (the first round) the labels have the whole weight.

    >>> DistillationLoss(0.5)(torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1, 2))
    tensor(0.1250)
    """

    def __init__(self, mix: float = 0.25, temperature: float = 1.0, loss: str = "mse-softmax") -> None:
        super().__init__()
        if loss not in _LOSSES:
            raise ZooInvalid(f"loss is {loss!r}; it must be one of {', '.join(_LOSSES)}.")
        if not 0 <= mix <= 1 or not temperature > 0:
            raise ZooInvalid(f"mix is {mix} and temperature {temperature}; they must lie in [0, 1] and above 0.")
        self.mix, self.temperature, self.loss = mix, temperature, loss

    def forward(self, student: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Tensor:
        """``labels``: int64 ``[n]``."""
        truth = F.one_hot(labels, student.shape[1]).to(student.dtype)
        if self.loss == "mse-softmax":
            if teacher is None:
                return F.mse_loss(student.softmax(1), truth)
            return soft_mse_distill_loss(student, teacher.detach(), truth, self.mix, self.temperature)
        hard = F.cross_entropy(student, labels)
        if teacher is None:
            return hard
        logs, soft = ((t / self.temperature).log_softmax(1) for t in (student, teacher.detach()))
        apart = F.kl_div(logs, soft, reduction="batchmean", log_target=True) * self.temperature**2
        return self.mix * hard + (1 - self.mix) * apart


def soft_mse_distill_loss(
    student: Tensor, teacher: Tensor, truth: Tensor, mix: float = 0.25, temperature: float = 1.0
) -> Tensor:
    """mix |p - truth|² + (1 - mix) |p_T - teacher's p_T|², each the mean over all entries of ``[n, classes]``."""
    soft = student / temperature
    apart = (soft.softmax(1) - (teacher / temperature).softmax(1)).square().mean()
    return mix * (student.softmax(1) - truth).square().mean() + (1 - mix) * apart


class SelfDistiller:
    """Trains ``n_steps`` networks from ``model_fn()``, each from scratch and taught by the one before (Adam).

    ``mix`` is one number, or "optimal": then every round is trained once more with mix 0, both models answer the
    batches of ``validation``, and the closed form of :func:`optimal_mix` on probabilities chooses the mix (exact for
    kernels, an approximation for networks). Teachers stay in evaluation mode.

    After ``fit``: ``models_``, ``mix_`` (1 for the first round), ``losses_`` (mean of the last epoch).
    """

    def __init__(
        self,
        model_fn: Callable[[], nn.Module],
        *,
        loss: str = "mse-softmax",
        mix: float | str = 0.25,
        temperature: float = 1.0,
        n_steps: int = 5,
        epochs: int = 20,
        lr: float = 1e-3,
    ) -> None:
        if n_steps < 1 or epochs < 1:
            raise ZooInvalid(f"n_steps and epochs are {n_steps} and {epochs}; they must be at least 1.")
        if isinstance(mix, str) and mix != "optimal":
            raise ZooInvalid(f"mix is {mix!r}; it must be 'optimal' or a number in [0, 1].")
        DistillationLoss(0.0 if isinstance(mix, str) else mix, temperature, loss)  # refuses what it cannot work with
        self.model_fn, self.loss, self.mix, self.temperature = model_fn, loss, mix, temperature
        self.n_steps, self.epochs, self.lr = n_steps, epochs, lr

    def fit(self, loader: Batches, validation: Batches | None = None) -> SelfDistiller:
        """``loader`` and ``validation`` give batches (inputs, int64 labels) anew each time they are walked."""
        if self.mix == "optimal" and validation is None:
            raise ZooInvalid("mix is 'optimal', which needs validation batches.")
        self.models_: list[nn.Module] = []
        self.mix_: list[float] = []
        self.losses_: list[float] = []
        for step in range(self.n_steps):
            teacher = self.models_[-1] if step else None
            mix = 1.0 if teacher is None else self._mix(loader, validation, teacher)
            model, loss = self.train_one(loader, teacher, mix)
            self.models_.append(model)
            self.mix_.append(mix)
            self.losses_.append(loss)
        return self

    def train_one(self, loader: Batches, teacher: nn.Module | None, mix: float) -> tuple[nn.Module, float]:
        """One round: a new model in evaluation mode, and the mean loss of its last epoch."""
        model, criterion = self.model_fn(), DistillationLoss(mix, self.temperature, self.loss)
        optimizer = torch.optim.Adam(model.parameters(), self.lr)
        if teacher is not None:
            teacher.eval()
        model.train()
        for _ in range(self.epochs):
            total, count = 0.0, 0
            for x, y in loader:
                with torch.no_grad():
                    told = teacher(x) if teacher is not None else None
                optimizer.zero_grad()
                value = criterion(model(x), y, told)
                value.backward()
                optimizer.step()
                total, count = total + float(value.detach()) * len(x), count + len(x)
        return model.eval(), total / max(count, 1)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Probabilities ``[n, classes]`` of the last round's network."""
        return _probabilities(self.models_[-1], x)

    def _mix(self, loader: Batches, validation: Batches | None, teacher: nn.Module) -> float:
        if not isinstance(self.mix, str):
            return self.mix
        assert validation is not None
        pupil, _ = self.train_one(loader, teacher, 0.0)
        batches = list(validation)
        first, distilled = (
            torch.cat([_probabilities(model, x) for x, _ in batches]) for model in (self.models_[0], pupil)
        )
        truth = F.one_hot(torch.cat([y for _, y in batches]), first.shape[1]).to(first.dtype)
        return optimal_mix(truth, first, distilled)


@torch.no_grad()
def _probabilities(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    return model(x).softmax(1)


__all__ = ["DistillationLoss", "SelfDistiller", "soft_mse_distill_loss"]
