"""word2vec (continuous bag of words, negative sampling) at any width, also the infinite one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ....errors import ZooInvalid

Array = NDArray[np.float64]


class Word2VecCBOW:
    """Word vectors: the mean of a window's rows of U foretells its centre's row of V against random words.

    ``width`` a number, or ``math.inf``: then U starts as the identity and V at zero, one column for each word, and the
    updates stay what they are (section 6 of the paper). Every width sees the same windows and negatives for one
    ``seed``. One thread; each pass costs a product of ``negative`` rows for each word.

    >>> model = Word2VecCBOW(width=math.inf, min_count=1, epochs=1).fit([["a", "b", "c"]] * 5)
    >>> model.vectors_.shape
    (3, 3)
    """

    def __init__(
        self,
        width: float = 64,
        *,
        window: int = 5,
        negative: int = 5,
        min_count: int = 5,
        epochs: int = 5,
        lr: float = 0.05,
        weight_decay: float = 0.001,
        seed: int = 0,
    ) -> None:
        if width != math.inf and (width < 1 or width != int(width)):
            raise ZooInvalid(f"width is {width}; give a whole number of at least 1, or math.inf.")
        self.width, self.window, self.negative, self.min_count = width, window, negative, min_count
        self.epochs, self.lr, self.weight_decay, self.seed = epochs, lr, weight_decay, seed

    def fit(self, sentences: Sequence[Sequence[str]]) -> Self:
        """Learn from sentences of words; words seen fewer than ``min_count`` times are passed over."""
        counts = Counter(word for sentence in sentences for word in sentence)
        self.words_ = [word for word, count in counts.most_common() if count >= self.min_count]
        if len(self.words_) < 2:
            raise ZooInvalid(
                f"{len(self.words_)} words occur at least {self.min_count} times; at least two are needed."
            )
        self.index_ = {word: k for k, word in enumerate(self.words_)}
        texts = [np.array([self.index_[w] for w in s if w in self.index_]) for s in sentences]
        noise = np.array([counts[word] for word in self.words_], dtype=np.float64) ** 0.75
        self._start()
        losses = []
        total = self.epochs * sum(len(text) for text in texts)
        for step, (context, targets) in enumerate(self._stream(texts, np.cumsum(noise / noise.sum()))):
            rate = self.lr * max(1e-4, 1 - step / total)
            losses.append(self._update(context, targets, rate))
        self.loss_ = float(np.mean(losses[-max(1, len(losses) // self.epochs) :])) if losses else math.nan
        return self

    def _start(self) -> None:
        size = len(self.words_)
        if self.width == math.inf:
            self.vectors_: Array = np.eye(size)
        else:  # rows of U have unit length on average; another stream of numbers, so that windows stay the same
            rng = np.random.default_rng([self.seed, 1])
            self.vectors_ = rng.uniform(-1, 1, (size, int(self.width))) * math.sqrt(3 / self.width)
        self.contexts_: Array = np.zeros_like(self.vectors_)

    def _stream(self, texts: list[NDArray[Any]], noise: Array) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Windows and, for each, its centre followed by the negatives."""
        rng = np.random.default_rng(self.seed)
        for _ in range(self.epochs):
            for text in texts:
                reach = rng.integers(1, self.window + 1, len(text))
                drawn = np.minimum(np.searchsorted(noise, rng.random((len(text), self.negative))), len(noise) - 1)
                for i, (span, negatives) in enumerate(zip(reach, drawn, strict=True)):
                    context = np.concatenate([text[max(0, i - span) : i], text[i + 1 : i + 1 + span]])
                    if len(context):
                        # Negatives that are the centre, or drawn twice, are skipped.
                        others = np.unique(negatives[negatives != text[i]])
                        yield context, np.concatenate([text[i : i + 1], others])

    def _update(self, context: NDArray[Any], targets: NDArray[Any], rate: float) -> float:
        u, v, keep = self.vectors_, self.contexts_, 1 - rate * self.weight_decay
        h, old = u[context].mean(0), v[targets]
        score = np.clip(old @ h, -12, 12)
        label = np.zeros(len(targets))
        label[0] = 1
        g = (label - 1 / (1 + np.exp(-score))) * rate
        v[targets] = keep * old + g[:, None] * h
        rows, often = np.unique(context, return_counts=True)
        u[rows] = keep * u[rows] + often[:, None] * (g @ old / len(context))
        return float(np.logaddexp(0, np.where(label == 1, -score, score)).sum())

    def cosines(self, count: int | None = None) -> Array:
        """Cosines [k, k] between the vectors of the ``count`` most frequent words (default: all)."""
        unit = self.vectors_[:count] / np.linalg.norm(self.vectors_[:count], axis=1, keepdims=True)
        similar: Array = unit @ unit.T
        return similar

    def most_similar(self, word: str, topn: int = 10) -> list[tuple[str, float]]:
        """The words of the largest cosines with ``word``, and these."""
        if word not in self.index_:
            raise ZooInvalid(f"{word!r} is not among the {len(self.words_)} words that were learnt.")
        row = self.cosines()[self.index_[word]]
        best = [k for k in np.argsort(-row) if k != self.index_[word]][:topn]
        return [(self.words_[k], float(row[k])) for k in best]

    def analogy_accuracy(self, questions: Sequence[tuple[str, str, str, str]]) -> float:
        """The share of questions (a, b, c, d) where d is nearest to b - a + c of all other words."""
        unit = self.vectors_ / np.linalg.norm(self.vectors_, axis=1, keepdims=True)
        known = [[self.index_[w] for w in q] for q in questions if all(w in self.index_ for w in q)]
        if not known:
            raise ZooInvalid("None of the questions has all its words among those that were learnt.")
        right = 0
        for a, b, c, d in known:
            scores = unit @ (unit[b] - unit[a] + unit[c])
            scores[[a, b, c]] = -np.inf
            right += int(scores.argmax() == d)
        return right / len(known)


def drawn_corpus(sentences: int = 400, topics: int = 8, words: int = 120, seed: int = 0) -> list[list[str]]:
    """Sentences of ten words, each mostly about one topic: words of a topic keep the same company."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, words + 1) ** 0.7
    topic = rng.integers(0, topics, words)
    corpus = []
    for _ in range(sentences):
        chance = weights * np.where(topic == rng.integers(0, topics), 1.0, 0.05)
        corpus.append([f"w{k}" for k in rng.choice(words, 10, p=chance / chance.sum())])
    return corpus


__all__ = ["Word2VecCBOW", "drawn_corpus"]
