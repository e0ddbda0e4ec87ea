"""Three numbers to watch while modalities are being aligned; final claims are measured in `pacx.evaluation`.

`embeddings -> numbers -> journal`, and a sentence where the embeddings have collapsed. Ties never look like success: a
collapsed encoder retrieves nothing.
"""

from torch import Tensor
from torch.nn import functional as F


def recall_at(similarity: Tensor, k: int) -> float:
    """How often a film's own target is among its k nearest.

    Args:
        similarity: (N, N), row i a film, column i its own target.
        k: how many count as near.

    Returns:
        Share of rows in [0, 1]; a tie counts as half a place, so that a collapsed encoder is not rewarded.
    """
    own = similarity.diagonal()[:, None]  # (N, 1)
    rank = (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2  # (N,)
    return (rank < k).float().mean().item()


def mean_cosine(predictions: Tensor, targets: Tensor) -> float:
    """Mean cosine between rows of (N, D) and (N, D), or of one row (1, D) with all, in [-1, 1]."""
    return F.cosine_similarity(predictions, targets, dim=1).mean().item()


def embedding_spread(embeddings: Tensor) -> float:
    """How far embeddings (N, D) point in different directions: 1 - |mean unit vector|^2, in [0, 1].

    0 when all point the same way (collapse), near 1 when they cancel out.
    """
    return (1 - F.normalize(embeddings, dim=1).mean(0).square().sum()).clamp(0, 1).item()


COLLAPSED_BELOW = 0.01
"""An embedding spread below this is called a collapse: the mean cosine of two films is then above 0.99."""


def collapse_advice(spread: float) -> str:
    """What to tell a person whose encoder gives (nearly) every film the same embedding; "" while it does not."""
    if not spread < COLLAPSED_BELOW:
        return ""
    return (
        f"the embeddings have collapsed: spread {spread:.4f} (0 = all films alike, healthy runs stay above "
        f"{COLLAPSED_BELOW}), so probes on them will find little; give the contrastive objective more weight "
        "(--task.contrastive-weight), lower --training.learning-rate, and check that targets differ between patients"
    )
