"""Choices by a seed: the only source of randomness in a world."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """
    A source of choices, each made from one number between 0 and 1.

    The number 0 stands for the simplest choice: the least number, the first item, no.  So a list of numbers that ends
    early can be replayed, and fewer or smaller numbers mean a simpler world.

    :param seed: the seed.
    :param replayed: the numbers to use instead, one for each choice; zeros follow.
    :ivar made: the numbers used so far.
    """

    def __init__(self, seed: int | str, replayed: Sequence[float] | None = None) -> None:
        self.seed = seed
        self._replayed = replayed
        # A text is hashed by SHA-512 and not by ``hash``, which differs from process to process.
        self._random = Random(f"pirate {seed}").random
        self.made: list[float] = []

    def number(self) -> float:
        """Return a number from 0 up to, but not including, 1."""
        if self._replayed is None:
            number = self._random()
        else:
            number = self._replayed[len(self.made)] if len(self.made) < len(self._replayed) else 0.0
        self.made.append(number)
        return number

    def chance(self, probability: float) -> bool:
        """Return whether something happens that has this probability."""
        return self.number() >= 1 - probability

    def between(self, least: int, most: int) -> int:
        """Return an integer, ``least`` and ``most`` included."""
        return least + int(self.number() * (most - least + 1))

    def seconds(self, least: float, most: float) -> float:
        """Return a duration, to the microsecond."""
        return round(least + self.number() * (most - least), 6)

    def spread(self, least: float, most: float) -> float:
        """Return a duration whose order of magnitude is chosen evenly, to the microsecond."""
        return round(least * math.exp(self.number() * math.log(most / least)), 6)

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of several."""
        return items[int(self.number() * len(items))]

    def weighted(self, weights: Mapping[Item, float]) -> Item:
        """Return one of several, each as often as its weight says."""
        left = self.number() * sum(weights.values())
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        return item


class Noise:
    """
    A source of what nobody reads in a story: delays on the network, secrets, jitter.

    It is not recorded, and each actor has its own, so that leaving one actor out changes nothing for the others.

    :param seed: the seed of the world.
    :param name: the name of the actor.
    :ivar random: the source itself.
    """

    def __init__(self, seed: int | str, name: str) -> None:
        self._seed = f"{seed} {name}"
        self.random = Random(f"pirate {self._seed}")

    def part(self, name: str) -> Noise:
        """Return the source of a part of the actor, which does not depend on what is taken from this one."""
        return Noise(self._seed, name)

    def secret(self, size: int) -> bytes:
        """Return so many bytes."""
        return self.random.randbytes(size)

    def seconds(self, least: float, most: float) -> float:
        """Return a duration, mostly nearer to ``least``."""
        return least + (most - least) * self.random.random() ** 3
