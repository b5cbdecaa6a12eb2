"""A kernel classifier for every task over one feature net; its support is generated (GKCL) or stored (KCL)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import ZooInvalid
from ...common import one_hot
from ._head import Grams, KernelRidgeHead, VariationalFourier
from ._vae import ClassConditionalVAE


@dataclass(frozen=True)
class Training:
    """How one task is learned: SGD with momentum 0.8 for net and head, Adam for the generator."""

    epochs: int = 5
    lr: float = 0.1
    decay: float = 0.9  # of the learning rate, from task to task
    batch: int = 20
    generator_steps: int = 600
    generator_lr: float = 2e-3
    generator_batch: int = 64
    kl_weight: float = 1e-4  # of the variational Fourier features


class _KernelContinual:
    """What both learners share: heads for tasks, training on a task's own data, closed-form prediction."""

    def __init__(self, feature_net: nn.Module, kernel: str | Grams, training: Training | None, seed: int) -> None:
        self.feature_net, self.kernel, self.seed = feature_net, kernel, seed
        self.training = training if training is not None else Training()
        self.heads: dict[int, KernelRidgeHead] = {}
        self.classes: dict[int, Tensor] = {}

    @abstractmethod
    def support(self, task_id: int, draw: int = 0) -> tuple[Tensor, Tensor]:
        """Support images [n, ...] of a task and, for each, the place [n] of its class among ``classes[task_id]``."""

    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes kept for tasks of the past, beside the feature net."""

    @abstractmethod
    def _remember(self, x: Tensor, y: Tensor, task_id: int) -> tuple[Tensor, Tensor]:
        """Take in a task's data before the net is trained; return what the net trains on."""

    def partial_fit_task(self, X: Tensor, y: Tensor, task_id: int) -> _KernelContinual:
        """Learn a new task from images [n, ...] and labels [n]. Raises ``ZooInvalid`` for a task seen before."""
        if task_id in self.heads:
            raise ZooInvalid(f"Task {task_id} was learned before; every task comes once.")
        if len(X) == 0 or len(X) != len(y):
            raise ZooInvalid(f"A task is n >= 1 images and n labels, not {len(X)} and {len(y)}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + 1000 * (task_id + 1))
            self.classes[task_id], places = y.unique(return_inverse=True)
            width = int(self._features(X[:1]).shape[1])
            self.heads[task_id] = KernelRidgeHead(self.kernel, n_features=width)
            self._train(*self._remember(X, places, task_id), task_id)
        return self

    def _train(self, x: Tensor, places: Tensor, task_id: int) -> None:
        head, settings = self.heads[task_id], self.training
        rate = max(settings.lr * settings.decay ** (len(self.heads) - 1), 5e-5)
        optimiser = torch.optim.SGD([*self.feature_net.parameters(), *head.parameters()], lr=rate, momentum=0.8)
        self.feature_net.train()
        head.train()
        draw = 0
        for _ in range(settings.epochs):
            for part in torch.randperm(len(x)).split(settings.batch):
                draw += 1
                held, held_places = self.support(task_id, draw)
                features = self.feature_net(torch.cat([held, x[part]]))
                inner, query = features[: len(held)], features[len(held) :]
                targets = one_hot(held_places, len(self.classes[task_id]), inner.dtype)
                loss = functional.cross_entropy(head(inner, targets, query), places[part])
                if isinstance(head.grams, VariationalFourier):
                    loss = loss + settings.kl_weight * head.grams.kl(inner, query)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.feature_net.eval()
        head.eval()

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        self.feature_net.eval()
        features = self.feature_net(x)
        assert isinstance(features, Tensor)
        return features

    @torch.no_grad()
    def logits(self, X: Tensor, task_id: int) -> Tensor:
        """Logits [n, classes of the task] of its own head: other classes are masked by not being there."""
        if task_id not in self.heads:
            raise ZooInvalid(f"Task {task_id} was not learned; learned are {sorted(self.heads)}.")
        held, places = self.support(task_id)
        targets = one_hot(places, len(self.classes[task_id]), X.dtype)
        scores = self.heads[task_id](self._features(held), targets, self._features(X))
        assert isinstance(scores, Tensor)
        return scores

    @torch.no_grad()
    def predict(self, X: Tensor, task_id: int | None = None) -> Tensor:
        """Labels [n]. Told the task (task-incremental), its own head answers.

        Without it (class- or domain-incremental), one head over the supports of all tasks and all labels does, with
        the mean of the tasks' ridges.
        """
        if task_id is not None:
            places = self.logits(X, task_id).argmax(1)
            return self.classes[task_id][places]
        if not self.heads:
            raise ZooInvalid("No task was learned yet.")
        supports = [(x, self.classes[t][places]) for t in self.heads for x, places in (self.support(t),)]
        labels = torch.cat([y for _, y in supports])
        known, places = labels.unique(return_inverse=True)
        last = self.heads[max(self.heads)]
        joint = KernelRidgeHead(last.grams, learn_reg=False)
        joint.reg = float(torch.stack([h.lmd.abs() + h.reg for h in self.heads.values()]).mean())
        inner = self._features(torch.cat([x for x, _ in supports]))
        return known[joint(inner, one_hot(places, len(known), inner.dtype), self._features(X)).argmax(1)]

    def _head_bytes(self) -> int:
        return sum(_bytes(head) for head in self.heads.values())


class GenerativeKernelClassifier(_KernelContinual):
    """Generative kernel continual learning (arXiv 2112.13410): supports are samples of one generator.

    A task first trains the generator on its images, mixed with images that a frozen copy of the generator draws of
    the classes before (``replay=False`` leaves those out); then the feature net and the task's head, on the task's
    images with supports drawn anew in every step. The net itself never sees an image of an older task.

    ``feature_net`` maps images to features [n, D]; ``vae`` is a :class:`ClassConditionalVAE` without classes.
    """

    def __init__(
        self,
        feature_net: nn.Module,
        vae: ClassConditionalVAE,
        kernel: str | Grams = "linear",
        coreset_per_class: int = 20,
        *,
        replay: bool = True,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(feature_net, kernel, training, seed)
        if coreset_per_class < 1 or vae.n_classes:
            raise ZooInvalid(
                f"coreset_per_class is at least 1 and the vae comes without classes, not {coreset_per_class} and "
                f"{vae.n_classes} classes."
            )
        self.vae, self.coreset_per_class, self.replay = vae, coreset_per_class, replay
        self._first: dict[int, int] = {}  # a task's first class among the generator's

    def support(self, task_id: int, draw: int = 0) -> tuple[Tensor, Tensor]:
        count, first = len(self.classes[task_id]), self._first[task_id]
        generator = torch.Generator().manual_seed((self.seed * 1009 + task_id) * 100003 + draw)
        images = self.vae.sample(list(range(first, first + count)), self.coreset_per_class, generator)
        return images, torch.arange(count).repeat_interleave(self.coreset_per_class)

    def memory_bytes(self) -> int:
        """The generator and the heads' numbers: grows by a task's priors and head alone."""
        return _bytes(self.vae) + self._head_bytes()

    def _remember(self, x: Tensor, y: Tensor, task_id: int) -> tuple[Tensor, Tensor]:
        old = self.vae.freeze_copy()
        self._first[task_id] = old.n_classes
        self.vae.add_classes(len(self.classes[task_id]))
        self.vae.requires_grad_(True).train()
        settings = self.training
        optimiser = torch.optim.Adam(self.vae.parameters(), lr=settings.generator_lr)
        for _ in range(settings.generator_steps):
            rows = torch.randint(len(x), (settings.generator_batch,))
            images, ids = x[rows], y[rows] + self._first[task_id]
            if self.replay and old.n_classes:
                # Two old images for a new one, however many classes there were: the cost of a task does not grow.
                again = torch.randint(old.n_classes, (2 * settings.generator_batch,))
                images = torch.cat([images, old.sample(again.tolist(), 1)])
                ids = torch.cat([ids, again])
            loss = self.vae.loss(images, ids)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.vae.eval()
        return x, y


class KernelContinualClassifier(_KernelContinual):
    """Kernel continual learning (ICML 2021): ``coreset_size`` images of every task are stored."""

    def __init__(
        self,
        feature_net: nn.Module,
        coreset_size: int = 20,
        kernel: str | Grams = "linear",
        *,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(feature_net, kernel, training, seed)
        if coreset_size < 1:
            raise ZooInvalid(f"coreset_size is {coreset_size}; it must be at least 1.")
        self.coreset_size = coreset_size
        self._stored: dict[int, tuple[Tensor, Tensor]] = {}

    def support(self, task_id: int, draw: int = 0) -> tuple[Tensor, Tensor]:
        return self._stored[task_id]

    def memory_bytes(self) -> int:
        """The stored images and labels and the heads' numbers: grows by a coreset with every task."""
        return sum(t.nbytes for pair in self._stored.values() for t in pair) + self._head_bytes()

    def _remember(self, x: Tensor, y: Tensor, task_id: int) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(x))
        # The k-th image of every class comes before the (k+1)-th of any: a coreset has as many of each as can be.
        turn = (one_hot(y[order], len(self.classes[task_id])).cumsum(0)).gather(1, y[order][:, None])[:, 0]
        order = order[turn.argsort(stable=True)]
        held, rest = order[: self.coreset_size], order[self.coreset_size :]
        self._stored[task_id] = (x[held].clone(), y[held].clone())
        return (x[rest], y[rest]) if len(rest) else (x, y)


def _bytes(module: nn.Module) -> int:
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))


__all__ = ["GenerativeKernelClassifier", "KernelContinualClassifier", "Training"]
