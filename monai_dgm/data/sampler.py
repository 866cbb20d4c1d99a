"""Sampler of training batches; the order is a function of the seed alone, so that a resumed training continues it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

__all__ = ["BalancedBatchSampler", "balance_groups"]


def balance_groups(groups: Sequence[Hashable], balanced: bool = True) -> list[float] | None:
    """Weights of images with which each group is drawn as the root of its size: small ones more often than their share.

    Args:
        groups: of each image, such as its source and label.
        balanced: False for no weights, so that each image is drawn equally often.

    Returns:
        one weight an image, above 0: 1 over the root of the size of its group; None for no weights.
    """
    if not balanced:
        return None
    sizes = Counter(groups)
    return [sizes[group] ** -0.5 for group in groups]


class BalancedBatchSampler(Sampler[list[int]]):
    """Batches with a fixed share of normal images; batch number n does not depend on how often the run was resumed.

    Each class is an endless stream of shuffled passes over its images. With ``normal_fraction=None`` the batches are
    plain shuffled passes over all images, as in the paper. With several processes each takes every
    ``world_size``-th batch of the same sequence. With ``weights`` a pass draws with replacement.

    Args:
        labels: label of each image, 0 normal or 1 abnormal.
        batch_size: images per batch and process.
        normal_fraction: share of normal images in a batch, in [0, 1]; None for plain shuffling of all images.
        num_real: number of further normal images appended to each batch for the discriminator (needed with the
            paper's batch of one image).
        epoch_length: batches per epoch and process; None for as many as one pass over the images has.
        seed: seed of the whole sequence.
        rank, world_size: index of this process and number of processes in distributed training.
        weights: of each image; within its class it is drawn in proportion to them. None for all images alike.

    Raises:
        ValueError: another number of weights than of labels, a weight that is not above 0, a needed class without
            images, a label other than 0 and 1, or a batch too small for the share of normal images.
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        normal_fraction: float | None = 0.5,
        num_real: int = 0,
        epoch_length: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        label_array = np.asarray(labels)
        self.weights = None if weights is None else np.asarray(weights, np.float64)
        if self.weights is not None and (self.weights.shape != label_array.shape or not (self.weights > 0).all()):
            raise ValueError(f"weights: expected a number above 0 for each of {len(label_array)} images")
        unknown = label_array[~np.isin(label_array, (0, 1))]
        if len(unknown):
            raise ValueError(f"labels: expected 0 or 1, got {unknown[0]}")
        self.normal, self.abnormal = np.flatnonzero(label_array == 0), np.flatnonzero(label_array == 1)
        self.all = np.arange(len(label_array))
        self.batch_size, self.num_real, self.seed = batch_size, num_real, seed
        self.rank, self.world_size = rank, world_size
        self.num_normal = None if normal_fraction is None else self._count_normal(batch_size, normal_fraction)
        needed = {"normal": len(self.normal), "abnormal": len(self.abnormal)}
        if self.num_normal == batch_size:
            needed.pop("abnormal")
        for name, count in needed.items():
            if count == 0:
                raise ValueError(
                    f"training needs normal and abnormal images, got no {name} one in {len(labels)} images"
                )
        self.epoch_length = epoch_length or max(1, len(label_array) // (batch_size * world_size))
        self.next_batch = 0
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    @staticmethod
    def _count_normal(batch_size: int, fraction: float) -> int:
        count = round(batch_size * fraction)
        if not 0 <= fraction <= 1 or (0 < fraction < 1 and count in (0, batch_size)):  # else a class is never seen
            expected = f"a share in [0, 1] that a batch of {batch_size} can hold, or None"
            raise ValueError(f"normal_fraction: expected {expected}, got {fraction}")
        return count

    def __len__(self) -> int:
        return self.epoch_length

    def __iter__(self) -> Iterator[list[int]]:
        """Batches up to the end of the epoch in which ``next_batch`` (set on resume) lies."""
        end = (self.next_batch // self.epoch_length + 1) * self.epoch_length
        for number in range(self.next_batch, end):
            self.next_batch = number + 1
            yield self.batch(number)

    def batch(self, number: int) -> list[int]:
        """Indices of batch ``number`` (counted from the start of training) of this process."""
        position = number * self.world_size + self.rank
        if self.num_normal is None:
            indices = self._draw(0, self.all, position, self.batch_size)
        else:
            normal = self._draw(1, self.normal, position, self.num_normal)
            indices = normal + self._draw(2, self.abnormal, position, self.batch_size - self.num_normal)
        return indices + self._draw(3, self.normal, position, self.num_real)

    def _draw(self, stream: int, members: np.ndarray, position: int, count: int) -> list[int]:
        return [
            int(members[self._order(stream, k // len(members), members)[k % len(members)]])
            for k in range(position * count, (position + 1) * count)
        ]

    def _order(self, stream: int, turn: int, members: np.ndarray) -> np.ndarray:
        key = (stream, turn)
        if key not in self._orders:
            for old in [k for k in self._orders if k[0] == stream and k[1] < turn - 1]:
                del self._orders[old]
            random = np.random.default_rng((self.seed, stream, turn))
            if self.weights is None:
                self._orders[key] = random.permutation(len(members))
            else:
                shares = self.weights[members] / self.weights[members].sum()
                self._orders[key] = random.choice(len(members), len(members), p=shares)
        return self._orders[key]
