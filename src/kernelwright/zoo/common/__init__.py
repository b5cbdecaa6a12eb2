"""What many systems need, once: data that ships with packages, metrics, small models, one look of pictures."""

from ._data import Split, blobs, load, one_hot
from ._frechet import frechet_distance
from ._models import accuracy, cnn, mlp, train
from ._picture import COLOURS, GRID, INK, MUTED, PAPER, axes, legend, save
from ._rank import kendall, recall_at, spearman
from ._ridge import ridge_solve

__all__ = [
    "COLOURS",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "Split",
    "accuracy",
    "axes",
    "blobs",
    "cnn",
    "frechet_distance",
    "kendall",
    "legend",
    "load",
    "mlp",
    "one_hot",
    "recall_at",
    "ridge_solve",
    "save",
    "spearman",
    "train",
]
