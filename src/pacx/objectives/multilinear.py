"""Symile's contrastive objective: what film, ECG and labs say together, beyond what any two of them share.

Pairwise InfoNCE sees a film with an ECG and a film with labs. Here every modality has to be found from all the others
at once, through the sum over the products of their coordinates. The others of a false candidate come from *different*
patients, so that what two of them share cannot give it away. It needs at least two modalities beside the film, and
works on the films that have them all.

Source: Saporta et al. 2024, "Contrasting with Symile", section 3 and the linear-cost negatives of its appendix.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pacx.core.errors import UsageError
from pacx.core.randomness import seed_of
from pacx.models.initialization import seeded_rng
from pacx.objectives.multilinear_config import MultilinearConfig
from pacx.objectives.objective import (
    FilmFeatures,
    Objective,
    ObjectiveOutput,
    PairedTargets,
    linear_head,
    require_targets,
)
from pacx.objectives.temperature import bounded_scale, log_scale_of

_FEWEST_MODALITIES = 2


def multilinear_info_nce(vectors: Sequence[Tensor], log_scale: Tensor, *, patients: Tensor) -> Tensor:
    """InfoNCE of each modality against the product of all others, averaged over the modalities.

    Candidate j of a query multiplies the first other modality of row j, the second of row j + 1, the third of row
    j + 2 and so on, round the batch; the query's own candidate is its own row in all. Vectors are brought to unit
    length and their product is scaled by S^((M - 2) / 2), so that chance scores have the same spread for any number of
    modalities and two give the plain contrastive loss.

    Args:
        vectors: M tensors (B, S), row i of all belongs to one film; not normalized.
        log_scale: scalar, logarithm of the inverse temperature; the scale is clamped to [1, 100].
        patients: int64 (B,), whose film it is; a candidate with a part from the query's patient is left out.

    Returns:
        Scalar: ln B when everything looks alike and all patients differ, 0 when nobody has a negative.
    """
    with torch.autocast(log_scale.device.type, enabled=False):
        unit = [F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1) for x in vectors]
        # a product of M - 1 unit vectors of S numbers is that much smaller than one of them
        size = unit[0].shape[-1] ** ((len(unit) - 2) / 2)
        scale = bounded_scale(log_scale.to(unit[0].dtype)) * size
        losses = []
        for number, query in enumerate(unit):
            others = unit[:number] + unit[number + 1 :]
            candidates, own = others[0], others[0]
            is_foreign = patients[:, None] != patients  # (B, B): no part of candidate j is of query i's patient
            for shift, other in enumerate(others[1:], start=1):
                # a roll pairs row j with the next patient's: B candidates at the cost of B, of all B^(M-1) there are
                candidates, own = candidates * other.roll(-shift, 0), own * other
                is_foreign = is_foreign & (patients[:, None] != patients.roll(-shift, 0))
            logits = (scale * query @ candidates.T).masked_fill(~is_foreign, -torch.inf)  # (B, B)
            # the right answer is no rolled row, so it is scored apart and stands in column 0
            right = scale * (query * own).sum(1, keepdim=True)  # (B, 1)
            losses.append((torch.cat([right, logits], 1).logsumexp(1) - right[:, 0]).mean())
        return torch.stack(losses).mean()


class MultilinearObjective(Objective):
    """Symile over the film and every modality.

    Args:
        config: the objective.
        image_dim: width of the image embedding.
        target_dims: width of each modality's target; two modalities at least.
        seed: fixes the initial heads.

    Raises:
        UsageError: fewer than two modalities.
    """

    def __init__(self, config: MultilinearConfig, image_dim: int, target_dims: Mapping[str, int], *, seed: int) -> None:
        super().__init__()
        if len(target_dims) < _FEWEST_MODALITIES:
            raise UsageError(
                f"the multilinear objective has the modalities {', '.join(target_dims) or 'none'}; give targets of at "
                "least two, or use the pairwise contrastive objective"
            )
        with seeded_rng(seed_of(seed, "multilinear")):
            self.image_projection = linear_head(image_dim, config.shared_dim, dropout=0.0, use_layer_norm=False)
            self.target_projections = nn.ModuleDict(
                {
                    name: linear_head(width, config.shared_dim, dropout=0.0, use_layer_norm=False)
                    for name, width in target_dims.items()
                }
            )
        self.log_scale = nn.Parameter(log_scale_of(config.temperature))

    def forward(self, films: FilmFeatures, targets: PairedTargets) -> ObjectiveOutput:
        """Score the films that have every modality; see ``Objective``. Metrics: the temperature.

        Raises:
            TrainingError: a modality's target is missing.
        """
        require_targets(targets, set(self.target_projections))
        has_all = torch.stack([targets.observed[name] for name in self.target_projections]).all(0)  # (B,)
        is_kept = self.all_devices(has_all)
        projected = [self.image_projection(films.embedding)]
        projected += [head(targets.values[name].detach()) for name, head in self.target_projections.items()]
        vectors = [self.all_devices(rows)[is_kept] for rows in projected]
        loss = multilinear_info_nce(vectors, self.log_scale, patients=self.all_devices(targets.patients)[is_kept])
        if not is_kept.any():
            # 0, but reaching every parameter: DDP waits for the gradient of each
            loss = sum(rows.sum() for rows in projected) * 0 + self.log_scale * 0
        temperature = 1 / bounded_scale(self.log_scale.detach())
        return ObjectiveOutput(loss, {"multilinear_temperature": temperature})
