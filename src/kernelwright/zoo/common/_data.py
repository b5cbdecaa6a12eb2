"""Data that ships with scikit-learn, always split in the same way, so that figures of different systems compare."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ZooInvalid

_LOADERS = {
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
}
_REGRESSION = ("diabetes",)
_SCALES = ("none", "unit", "standard")


@dataclass(frozen=True)
class Split:
    """Features ``[n, d]`` in the asked dtype; targets ``[n]``: int64 classes, or values in that dtype (regression)."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    @property
    def classes(self) -> int:
        """How many classes there are; 0 for a regression."""
        return 0 if self.train_y.is_floating_point() else int(torch.cat([self.train_y, self.test_y]).max()) + 1


def load(
    name: str, *, test: float = 0.25, seed: int = 0, scale: str = "unit", dtype: torch.dtype = torch.float32
) -> Split:
    """A data set, split at random but always alike for one ``seed``; classes keep their shares in both parts.

    ``name``: ``breast-cancer`` (569 × 30, 2 classes), ``diabetes`` (442 × 10, values), ``digits`` (1797 × 64, images of
    8 × 8, 10 classes), ``iris`` (150 × 4, 3 classes), ``wine`` (178 × 13, 3 classes). ``test``: the share held out.
    ``scale``: ``unit`` maps the training features to [0, 1] (one range for the pixels of digits), ``standard`` to mean
    0 and deviation 1, ``none`` leaves them. Raises :class:`ZooInvalid`.

    >>> split = load("digits")
    >>> split.train_x.shape, split.test_x.shape, split.classes
    (torch.Size([1347, 64]), torch.Size([450, 64]), 10)
    """
    if name not in _LOADERS:
        raise ZooInvalid(f"name is {name!r}; there are the data sets {', '.join(_LOADERS)}.")
    if scale not in _SCALES:
        raise ZooInvalid(f"scale is {scale!r}; it must be one of {', '.join(_SCALES)}.")
    if not 0 < test < 1:
        raise ZooInvalid(f"test is {test}; it must be a share between 0 and 1.")
    from sklearn import datasets

    bunch = getattr(datasets, _LOADERS[name])()
    x = torch.from_numpy(bunch.data).to(torch.float64)
    y = torch.from_numpy(bunch.target)
    y = y.to(dtype) if name in _REGRESSION else y.to(torch.int64)
    held = _held_out(y, test, torch.Generator().manual_seed(seed))
    shift, width = _scaling(x[~held], scale, whole=name == "digits")
    x = ((x - shift) / width).to(dtype)
    return Split(x[~held], y[~held], x[held], y[held])


def _held_out(y: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """A mask ``[n]`` of the rows to hold out: that share of every class."""
    group = torch.zeros(len(y), dtype=torch.int64) if y.is_floating_point() else y
    held = torch.zeros(len(y), dtype=torch.bool)
    for label in range(int(group.max()) + 1):
        rows = torch.nonzero(group == label).flatten()
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        held[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return held


def _scaling(x: torch.Tensor, scale: str, whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """What to subtract and what to divide by; columns that never change are divided by 1."""
    if scale == "none":
        return torch.zeros(()).double(), torch.ones(()).double()
    if scale == "standard":
        shift, width = x.mean(0), x.std(0)
    elif whole:
        shift, width = x.min(), x.max() - x.min()
    else:
        shift, width = x.amin(0), x.amax(0) - x.amin(0)
    return shift, torch.where(width > 0, width, torch.ones_like(width))


def one_hot(y: torch.Tensor, classes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Labels ``[n]`` as ``[n, classes]`` of zeros and ones.

    >>> one_hot(torch.tensor([1, 0]), 2)
    tensor([[0., 1.],
            [1., 0.]])
    """
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= classes):
        raise ZooInvalid(f"classes is {classes}, but the labels reach from {int(y.min())} to {int(y.max())}.")
    return torch.nn.functional.one_hot(y.to(torch.int64), classes).to(dtype)


def blobs(
    count: int, dim: int, classes: int, *, spread: float = 1.0, apart: float = 4.0, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian clouds: ``count`` points float32 ``[count, dim]`` and labels int64 ``[count]``, classes in turns.

    Centres are drawn with deviation ``apart`` / sqrt(dim) per coordinate, so they lie about ``apart`` * sqrt(2) from
    one another in any dimension; points are drawn with deviation ``spread`` around theirs.

    >>> x, y = blobs(6, 2, 3)
    >>> x.shape, y.tolist()
    (torch.Size([6, 2]), [0, 1, 2, 0, 1, 2])
    """
    if count < 1 or dim < 1 or classes < 1:
        raise ZooInvalid(f"count, dim and classes are {count}, {dim} and {classes}; they must be at least 1.")
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=generator) * apart / dim**0.5
    y = torch.arange(count) % classes
    return centres[y] + spread * torch.randn(count, dim, generator=generator), y


__all__ = ["Split", "blobs", "load", "one_hot"]
