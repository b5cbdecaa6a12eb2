"""Two small worlds of "generative models" over scikit-learn's digits: 16 transforms, and pairs with swapped prompts.

A prompt is a digit's name. A model draws an image of that digit in the style that it has for the prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ._hub import ModelSpecification

Array = np.ndarray
DIGITS = 10


def _moved(matrix: list[list[float]]) -> Callable[[Array, np.random.Generator], Array]:
    offset = 3.5 - np.array(matrix) @ [3.5, 3.5]
    return lambda image, rng: ndimage.affine_transform(image, np.array(matrix), offset, order=1)


def _turned(degrees: float) -> Callable[[Array, np.random.Generator], Array]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _moved([[c, -s], [s, c]])


STYLES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "plain": lambda image, rng: image,
    "turned left": _turned(30),
    "turned right": _turned(-30),
    "sheared left": _moved([[1, 0], [0.5, 1]]),
    "sheared right": _moved([[1, 0], [-0.5, 1]]),
    "small": _moved([[1.5, 0], [0, 1.5]]),
    "blurred": lambda image, rng: ndimage.gaussian_filter(image, 1.0),
    "thick": lambda image, rng: ndimage.grey_dilation(image, (2, 2)),
    "thin": lambda image, rng: ndimage.grey_erosion(image, (2, 2)),
    "dark": lambda image, rng: image**0.4,
    "light": lambda image, rng: 0.5 * image,
    "inverted": lambda image, rng: 1 - image,
    "noisy": lambda image, rng: image + 0.35 * rng.standard_normal(image.shape),
    "raised": lambda image, rng: np.roll(image, -2, 0),
    "lined": lambda image, rng: image * (np.arange(8) % 2)[:, None],
    "edges": lambda image, rng: np.abs(ndimage.laplace(image)) / 2,
}


def _pool() -> tuple[list[Array], list[Array]]:
    """Images ``[n, 8, 8]`` within [0, 1] of every digit: what models draw from, and what users' images come from."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / images.max(1)[:, None, None]
    by_digit = [images[labels == digit] for digit in range(DIGITS)]
    return [x[:100] for x in by_digit], [x[100:] for x in by_digit]


def text_features(digits: Array) -> Tensor:
    """Prompts as unit vectors that have nothing in common: float64 ``[n, 10]``."""
    return torch.eye(DIGITS, dtype=torch.float64)[torch.as_tensor(np.asarray(digits))]


@dataclass(frozen=True)
class World:
    """Specifications by model, and users' tasks: image features, the true prompt, the one read off, the true model."""

    specifications: list[ModelSpecification]
    features: Tensor  # [tasks, D]
    prompts: Tensor  # [tasks, 10]
    read: Tensor  # [tasks, 10]
    truth: list[int]
    read_right: float


def transformed(per_prompt: int = 20, tasks: int = 5, seed: int = 0) -> World:
    """16 models; model m draws digit d in style (m + 3 d) mod 16, so styles alone tell nobody apart.

    Features are 32 principal components of pixels, of unit length; the interrogator is 5-nearest-neighbours on pixels.
    """
    rng = np.random.default_rng(seed)
    mine, users = _pool()
    styles = list(STYLES.values())

    def draw(model: int, digit: int, source: list[Array], count: int) -> Array:
        style = styles[(model + 3 * digit) % len(styles)]
        chosen = source[digit][rng.choice(len(source[digit]), count, replace=False)]
        return np.stack([style(image, rng).ravel() for image in chosen])

    digits = np.repeat(np.arange(DIGITS), per_prompt)
    drawn = [np.concatenate([draw(m, d, mine, per_prompt) for d in range(DIGITS)]) for m in range(len(styles))]
    everything = np.concatenate(drawn)
    shift, spread = everything.mean(0), everything.std(0) + 1e-3
    components = PCA(32, random_state=0).fit((everything - shift) / spread)

    def encode(images: Array) -> Tensor:
        features = torch.from_numpy(components.transform((images - shift) / spread))
        return torch.nn.functional.normalize(features, dim=1)

    reader = KNeighborsClassifier(5).fit(everything, np.tile(digits, len(styles)))
    asked = [(m, d) for m in range(len(styles)) for d in range(DIGITS) for _ in range(tasks)]
    images = np.concatenate([draw(m, d, users, 1) for m, d in asked])
    specifications = [ModelSpecification.generated(x, digits, encode, text_features) for x in drawn]
    return _world(specifications, encode(images), asked, reader.predict(images))


def swapped(pairs: int = 4, per_prompt: int = 8, tasks: int = 5, seed: int = 0) -> World:
    """Pairs of models with the same images up to content and swapped prompts: one inks even digits as the other odd.

    Images are coloured, ``[8, 8, 3]``. Features are the colours of paper and ink, so both models of a pair have exactly
    the same features; the interrogator reads the digit off how far pixels are from the paper.
    """
    rng = np.random.default_rng(seed)
    mine, users = _pool()
    plain = KNeighborsClassifier(5).fit(np.concatenate(mine).reshape(-1, 64), np.repeat(np.arange(DIGITS), 100))
    specifications, images, asked = [], [], []
    for pair in range(pairs):
        palettes = rng.random((2, 2, 3))  # style, (paper, ink), colour
        jitter = 0.05 * rng.standard_normal((2, DIGITS // 2 * per_prompt, 2, 3))
        for swap in (0, 1):
            drawn, digits = [], []
            for style in (0, 1):
                for item, noise in enumerate(jitter[style]):
                    digit = 2 * (item % (DIGITS // 2)) + (style ^ swap)
                    drawn.append(_coloured(mine[digit][item], palettes[style] + noise))
                    digits.append(digit)
            specifications.append(
                ModelSpecification.generated(np.stack(drawn), np.array(digits), _palette, text_features)
            )
            for digit in range(DIGITS):
                for _ in range(tasks):
                    colours = palettes[digit % 2 ^ swap] + 0.05 * rng.standard_normal((2, 3))
                    images.append(_coloured(users[digit][rng.integers(len(users[digit]))], colours))
                    asked.append((2 * pair + swap, digit))
    shown = np.stack(images)
    return _world(specifications, _palette(shown), asked, plain.predict(_ink_amount(shown)))


def _world(specifications: list[ModelSpecification], features: Tensor, asked: list, read: Array) -> World:
    digits = np.array([digit for _, digit in asked])
    right = float((read == digits).mean())
    return World(specifications, features, text_features(digits), text_features(read), [m for m, _ in asked], right)


def _coloured(image: Array, colours: Array) -> Array:
    """Ink on paper: ``image [8, 8]`` mixes ``colours [paper and ink, 3]``: ``[8, 8, 3]``."""
    return colours[0] + image[..., None] * (colours[1] - colours[0])


def _palette(images: Array) -> Tensor:
    """The colour of the corner and that farthest from it: ``[n, 8, 8, 3]`` to ``[n, 6]``."""
    flat = images.reshape(len(images), -1, 3)
    ink = flat[np.arange(len(flat)), np.square(flat - flat[:, :1]).sum(-1).argmax(1)]
    return torch.from_numpy(np.concatenate([flat[:, 0], ink], 1))


def _ink_amount(images: Array) -> Array:
    """How far every pixel is from the paper, at most 1: ``[n, 8, 8, 3]`` to ``[n, 64]``."""
    flat = images.reshape(len(images), -1, 3)
    far = np.sqrt(np.square(flat - flat[:, :1]).sum(-1))
    return far / far.max(1, keepdims=True)


__all__ = ["DIGITS", "STYLES", "World", "swapped", "text_features", "transformed"]
