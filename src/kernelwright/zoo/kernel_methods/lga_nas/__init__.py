"""Label-gradient alignment: scores of architectures from their tangent kernels, and searches by them (docs/zoo/)."""

from ._example import SYSTEM
from ._gram import conv_gram, ntk_gram
from ._scores import kernel_change, label_gradient_alignment, ntk_metrics, rank_correlation
from ._search import LGAScorer, random_search, regularized_evolution, train_epochs
from ._space import CellSpace, NASBench201Space, SmallCellSpace

__all__ = [
    "SYSTEM",
    "CellSpace",
    "LGAScorer",
    "NASBench201Space",
    "SmallCellSpace",
    "conv_gram",
    "kernel_change",
    "label_gradient_alignment",
    "ntk_gram",
    "ntk_metrics",
    "random_search",
    "rank_correlation",
    "regularized_evolution",
    "train_epochs",
]
