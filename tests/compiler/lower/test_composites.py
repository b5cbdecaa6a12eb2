"""What torch takes apart before we see it: losses, resampling, attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..oracle import check
from .values import rand


def test_losses() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, p: torch.Tensor, q: torch.Tensor) -> list[torch.Tensor]:
        names = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "poisson_nll_loss")
        simple = [getattr(F, n)(x, y, reduction=r) for n in names for r in ("mean", "none")]
        return [
            *simple, F.kl_div(x, p, reduction="batchmean"), F.kl_div(x, y, log_target=True),
            F.binary_cross_entropy(p, q),
            F.binary_cross_entropy_with_logits(x, p, pos_weight=q[0]), F.hinge_embedding_loss(x, y),
            F.cosine_embedding_loss(x, y, y[:, 0]), F.triplet_margin_loss(x, y, p), F.margin_ranking_loss(x, p, y),
            F.multilabel_soft_margin_loss(x, p.round()), F.cross_entropy(x, p),
        ]  # fmt: skip

    check(fn, rand(3, 4), rand(3, 4).sign(), torch.rand(3, 4) * 0.9 + 0.05, torch.rand(3, 4))


def test_class_losses() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [
            F.cross_entropy(x, y), F.cross_entropy(x, y, ignore_index=0), F.cross_entropy(x, y, w), F.nll_loss(x, y),
            F.cross_entropy(x, y, label_smoothing=0.1), F.cross_entropy(x, y, reduction="none"),
            F.multi_margin_loss(x, y),
        ]  # fmt: skip

    check(fn, rand(3, 5), torch.tensor([1, 0, 4]), torch.rand(5))
    check(F.cross_entropy, rand(3, 5, 2, 2), torch.randint(0, 5, (3, 2, 2)))


def test_resampling() -> None:
    def fn(x: torch.Tensor) -> list[torch.Tensor]:
        modes = ("nearest", "bilinear", "bicubic", "area", "nearest-exact")
        both = [F.interpolate(x, scale_factor=2, mode=m) for m in modes] + [
            F.interpolate(x, (7, 3), mode=m) for m in modes
        ]
        corners = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return [*both, corners, F.interpolate(x[:, :, 0], scale_factor=3), F.unfold(x, 3, padding=1)]

    check(fn, rand(2, 3, 4, 5))


def test_attention() -> None:
    attend = F.scaled_dot_product_attention

    def fn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> list[torch.Tensor]:
        grouped = attend(q, k[:, :2], v[:, :2], enable_gqa=True)
        return [attend(q, k, v), attend(k, k, v, is_causal=True), attend(q, k, v, m), attend(q, k, v, m > 0), grouped]

    mask = torch.tensor([[1, 0, 1, 1, 0.0], [1, 1, 1, 1, 0.0], [0, 0, 0, 0, 1]])
    check(fn, rand(2, 4, 3, 4), rand(2, 4, 5, 4), rand(2, 4, 5, 4), mask)


def test_transformer_layers() -> None:
    check(nn.MultiheadAttention(8, 2, batch_first=True), rand(2, 3, 8), rand(2, 3, 8), rand(2, 3, 8))
    check(nn.TransformerDecoderLayer(8, 2, 16).eval(), rand(3, 2, 8), rand(4, 2, 8))
