"""A hub of generative models that one example image is matched against: specifications, the index, the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....errors import ZooInvalid
from ._reduced import ReducedKernelMeanEmbedding, median_gamma, rbf

Encoder = Callable[[Any], Tensor]  # many images, or many prompts -> features [n, d]


def weighted_scores(
    points: Tensor, prompts: Tensor, log_weights: Tensor, grams: Tensor, images: Tensor, prompt: Tensor,
    gamma: float, temperature: float,
) -> Tensor:  # fmt: skip
    """Squared RKHS distances ``[H]`` of H models to the images ``[M, D]`` (equation 9; the weights are as of the card).

    ``points [H, N, D]`` image features, ``prompts [H, N, Q]`` of unit length, ``log_weights [H, N]`` (-inf pads),
    ``grams [H, N, N]`` of the points, ``prompt [Q]``. Item i of a model counts with w_i proportional to
    weight_i exp(<prompt, prompt_i> / temperature), summing to 1; the distance is w'Kw - 2 w'k(images) + k(images).
    """
    weight = torch.softmax(log_weights + prompts @ prompt / temperature, -1)
    similar = rbf(points, images, gamma).mean(-1)
    own = (weight * (grams @ weight[..., None])[..., 0]).sum(-1)
    return own - 2 * (weight * similar).sum(-1) + rbf(images, images, gamma).mean()


@dataclass(frozen=True)
class ModelSpecification:
    """What the hub keeps of a model: features of generated images ``[N, D]``, of their prompts ``[N, Q]``, weights."""

    images: Tensor
    prompts: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        count = len(self.images)
        if not (self.images.ndim == self.prompts.ndim == 2 and len(self.prompts) == len(self.weights) == count > 0):
            shapes = [tuple(t.shape) for t in (self.images, self.prompts, self.weights)]
            raise ZooInvalid(f"images, prompts and weights are {shapes}; they must be [N, D], [N, Q] and [N], N >= 1.")
        if not (self.weights >= 0).all() or not self.weights.sum() > 0:
            raise ZooInvalid("weights must not be negative, and some must be positive.")

    @classmethod
    def generated(cls, images: Any, prompts: Any, image_encoder: Encoder, text_encoder: Encoder) -> ModelSpecification:
        """The specification of images that a model drew for ``prompts``, item by item; all weigh the same."""
        features = image_encoder(images)
        return cls(features, _unit(text_encoder(prompts)), torch.full((len(features),), 1 / len(features)))

    def reduced(self, per_prompt: int, gamma: float, random_state: int = 0) -> ModelSpecification:
        """At most ``per_prompt`` points for every distinct prompt, by reduced kernel mean embedding within it."""
        parts = []
        for prompt in self.prompts.unique(dim=0):
            mine = (self.prompts == prompt).all(1)
            few = ReducedKernelMeanEmbedding(per_prompt, gamma=gamma, sum_to_one=True, random_state=random_state)
            few.fit(self.images[mine].double().numpy(), sample_weight=self.weights[mine].double().numpy())
            points = torch.from_numpy(few.points_).to(self.images.dtype)
            weights = torch.from_numpy(few.weights_).to(self.weights.dtype) * self.weights[mine].sum()
            parts.append((points, prompt.expand(len(points), -1), weights))
        return ModelSpecification(*(torch.cat(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Match:
    """A model and its squared RKHS distance to what the user gave."""

    name: str
    distance: float


class ModelHubIndex:
    """Ranks models by their distance to example images, weighted towards the user's prompt.

    ``gamma`` of the kernel exp(-gamma |a - b|^2), or "median" over all points of the hub; ``temperature`` of the prompt
    weights: inf is the basic RKME score, towards 0 only the best-matching prompt counts. ``image_encoder`` and
    ``text_encoder`` turn images and prompts into features ``[n, d]``; ``interrogator`` turns images into prompts.

    >>> index = ModelHubIndex(gamma=1.0)
    >>> for name, at in (("near", 0.1), ("far", 2.0)):
    ...     index.add(name, ModelSpecification(torch.full((1, 2), at), torch.ones(1, 1), torch.ones(1)))
    >>> index.identify(torch.zeros(1, 2), torch.ones(1), top_k=1)[0].name
    'near'
    """

    def __init__(
        self,
        gamma: float | str = "median",
        temperature: float = 0.05,
        *,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        interrogator: Callable[[Any], Any] | None = None,
    ) -> None:
        if not temperature > 0:
            raise ZooInvalid(f"temperature is {temperature!r}; it must be positive.")
        self.gamma, self.temperature = gamma, temperature
        self.image_encoder, self.text_encoder, self.interrogator = image_encoder, text_encoder, interrogator
        self._specifications: dict[str, ModelSpecification] = {}
        self._stacked: tuple[Tensor, Tensor, Tensor, Tensor, float] | None = None

    def __len__(self) -> int:
        return len(self._specifications)

    def add(self, name: str, specification: ModelSpecification) -> None:
        """Enter a model, or replace the one of that name."""
        for known in self._specifications.values():
            if (known.images.shape[1], known.prompts.shape[1]) != (
                specification.images.shape[1], specification.prompts.shape[1],
            ):  # fmt: skip
                raise ZooInvalid(f"The features of {name!r} have other widths than those in the hub.")
        self._specifications[name] = specification
        self._stacked = None

    def distances(self, images: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Distances ``[H]`` in the order of entry to image features ``[M, D]``; without a prompt ``[Q]`` unweighted."""
        if not self._specifications:
            raise ZooInvalid("The hub is empty; add a model first.")
        points, prompts, log_weights, grams, gamma = self._stack()
        temperature = self.temperature if prompt is not None else float("inf")
        q = _unit(prompt[None])[0] if prompt is not None else prompts.new_zeros(prompts.shape[-1])
        return weighted_scores(points, prompts, log_weights, grams, images.to(points), q.to(points), gamma, temperature)

    def identify(self, images: Any, prompt: Any = None, top_k: int = 4) -> list[Match]:
        """The ``top_k`` nearest models, best first, ties in the order of entry.

        ``images``: features ``[M, D]``, or what the image encoder takes. ``prompt``: a feature ``[Q]``, or what the
        text encoder takes; None has the interrogator read it off the images, or weighs nothing where there is none.
        """
        if prompt is None and self.interrogator is not None:
            prompt = self.interrogator(images)
        if prompt is not None and self.text_encoder is not None and not isinstance(prompt, Tensor):
            prompt = self.text_encoder(prompt).mean(0)
        features = self.image_encoder(images) if self.image_encoder is not None else images
        distances = self.distances(features, prompt)
        order = distances.argsort(stable=True)[:top_k].tolist()
        names = list(self._specifications)
        return [Match(names[i], float(distances[i])) for i in order]

    def save(self, path: str | Path) -> None:
        """Write the specifications, gamma and temperature; encoders are code and stay out."""
        items = {name: (s.images, s.prompts, s.weights) for name, s in self._specifications.items()}
        torch.save({"gamma": self.gamma, "temperature": self.temperature, "specifications": items}, path)

    @classmethod
    def load(cls, path: str | Path, **encoders: Any) -> ModelHubIndex:
        """A saved hub, with encoders given anew. Only tensors and numbers are read, never code."""
        stored = torch.load(path, weights_only=True)
        index = cls(stored["gamma"], stored["temperature"], **encoders)
        for name, parts in stored["specifications"].items():
            index.add(name, ModelSpecification(*parts))
        return index

    def _stack(self) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        """All specifications padded to one length, with their Gram matrices: made once after the last entry."""
        if self._stacked is None:
            from torch.nn.utils.rnn import pad_sequence

            known = list(self._specifications.values())
            points = pad_sequence([s.images for s in known], batch_first=True)
            prompts = pad_sequence([s.prompts for s in known], batch_first=True)
            logs = pad_sequence([s.weights.log() for s in known], batch_first=True, padding_value=-torch.inf)
            every = torch.cat([s.images for s in known]).double().numpy()
            gamma = median_gamma(every) if isinstance(self.gamma, str) else self.gamma
            self._stacked = points, prompts, logs, rbf(points, points, gamma), gamma
        return self._stacked


def top_k(distances: Tensor, truth: Sequence[int], k: int) -> float:
    """The share of rows of ``distances [tasks, H]`` whose true model is among the ``k`` nearest."""
    nearest = distances.argsort(dim=1, stable=True)[:, :k]
    return float((nearest == torch.tensor(truth)[:, None]).any(1).double().mean())


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1)


__all__ = ["Match", "ModelHubIndex", "ModelSpecification", "top_k", "weighted_scores"]
