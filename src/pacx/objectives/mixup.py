"""Embedding mixup: train on mixtures of two films' embeddings and of their targets, instead of on the films alone.

`features, targets of a batch -> mixed features, mixed targets`. A film's embedding becomes a share of itself and the
rest of another film's of the batch; its targets likewise. The share is at least a half, so a mixture stays mostly its
own patient's, which is whose it counts as. No objective knows of it.

Source: the paper names embedding mixup among what its authors tried (author contributions) and says no more. The form
is Zhang et al. 2018 (mixup), on embeddings as Verma et al. 2019 (manifold mixup), with the larger share first as
Berthelot et al. 2019 (MixMatch).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import UsageError
from pacx.core.randomness import order, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from pacx.objectives.objective import FilmFeatures, PairedTargets


@dataclass(frozen=True, kw_only=True)
class EmbeddingMixup:
    """How embeddings are mixed.

    Args:
        alpha: shares are drawn from Beta(alpha, alpha); towards 0 hardly anything is mixed, 1 is uniform.

    Raises:
        UsageError: alpha is not positive.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise UsageError(f"mixup: alpha is {self.alpha}; give a positive number, or no mixup")

    def mixed(
        self, films: "FilmFeatures", targets: "PairedTargets", keys: NDArray[np.uint64], *, seed: int, epoch: int
    ) -> "tuple[FilmFeatures, PairedTargets]":
        """Mix a batch; shares follow (seed, epoch, film), partners the films of the batch as well.

        On several devices each mixes its own films, so the result depends on how many there are.
        """
        import torch
        from scipy.stats import beta

        # the inverse distribution of a uniform number: one draw per film, whatever the others are
        drawn = beta.ppf(uniform(seed, "mixup-share", epoch, keys, 1)[:, 0], self.alpha, self.alpha)
        ring = order(seed, "mixup-partner", epoch, keys)  # each film's partner is the next in this ring
        partner = np.empty(len(keys), np.int64)
        partner[ring] = np.roll(ring, -1)
        # at least half of itself: a mixture keeps the patient of its larger part
        share = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(films.embedding)
        return mix(films, targets, share, torch.from_numpy(partner).to(films.embedding.device))


def mix(
    films: "FilmFeatures", targets: "PairedTargets", share: "Tensor", partner: "Tensor"
) -> "tuple[FilmFeatures, PairedTargets]":
    """Mix every film with its partner.

    Args:
        films: features of B films.
        targets: of the same films; a mixture has a target where both films have it.
        share: (B,) in [0.5, 1], of the film itself.
        partner: int64 (B,), rows of the batch.
    """
    from pacx.objectives.objective import FilmFeatures, PairedTargets

    def mixture(rows: "Tensor") -> "Tensor":
        # (B, 1, ...): embeddings have two axes, patch tokens three
        own = share.view(-1, *[1] * (rows.ndim - 1)).to(rows.dtype)
        return own * rows + (1 - own) * rows[partner]

    observed = {name: has & has[partner] for name, has in targets.observed.items()}
    values = {name: mixture(rows) for name, rows in targets.values.items()}
    return FilmFeatures(*map(mixture, films)), PairedTargets(values, observed, targets.patients)
