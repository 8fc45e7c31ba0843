"""A noise spec, built: one chain is drawn per image, its terms are applied left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import parse
from imputation.noise.base import Corrupted, Noise


def from_spec(text: str) -> Noise:
    """Build the noise that a spec describes.

    Args:
        text: such as ``"strokes(size=medium)+gaussian(std=0.1..0.5) | none()"``.

    Raises:
        SpecError: the text is no spec, or one of its terms cannot be built.

    >>> from_spec("gaussian(std=0.1)+none")
    Chain(terms=(AdditiveGaussian(std=Range(low=0.1, high=0.1)), Nothing()))
    """
    chains = [Chain(tuple(NOISES.build(term) for term in chain)) for chain in parse(text)]
    return chains[0] if len(chains) == 1 else Mixture(tuple(chains))


@dataclass(frozen=True)
class Chain:
    """Noises applied one after the other."""

    terms: Sequence[Noise]

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1] with every term in turn."""
        first, *others = self.terms
        result = first(image, generator)
        for term in others:
            result = _followed(result, term(result.image, generator))
        return result


def _followed(earlier: Corrupted, later: Corrupted) -> Corrupted:
    """Join what two noises did, one on top of the other.

    Independent noises add in variance; where the later one replaced pixels, nothing is left of
    what the earlier one had added there. What was once replaced stays a hole.
    """
    left = earlier.sigma * (1 - later.hole)
    return Corrupted(
        later.image,
        torch.maximum(earlier.hole, later.hole),
        torch.hypot(left, later.sigma),
    )


@dataclass(frozen=True)
class Mixture:
    """Chains of which each image meets one, all of them equally likely."""

    chains: Sequence[Chain]

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1] with one chain, drawn by the generator."""
        drawn = torch.randint(len(self.chains), (), generator=generator, device=generator.device)
        return self.chains[int(drawn)](image, generator)
