"""What the rows of this study call methods, what they are taught, and measures: steps write it, pages read it."""

from collections.abc import Mapping

from pacx.evaluation.results import Subject, difference_metric
from pacx.models.encoders.names import MAE
from pacx.simulation.patients.labels import DENSE_GROUP

ILLNESS, KNOWLEDGE, HOSPITAL = "illness", "illness-knowledge", "simulated hospital"
"""Protocols and dataset."""

CLOSED_FORM = "closed form"
OF_MEASURES, OF_ECG_AND_MEASURES = "closed form of ECG measures", "closed form of ECG and its measures"
"""With what a cardiologist measures on an ECG in the place of, or beside, the ECG encoder's embedding; labs as well."""
AFTER, OF_MEASURES_AFTER = "closed form after Stage 2", "closed form of ECG measures after Stage 2"
"""Read off the encoder that Stage 2 has trained by the same pairs, in the place of the frozen MAE."""
ORACLE = "oracle"
"""The closed form towards the true physiology, which only a simulation knows: the ceiling of what pairs could teach."""
READ_ACUITY = "acuity read from films"
"""The closed form towards how ill the paired patients are, and nothing else."""
ACUITY = "acuity"
"""How ill a test patient truly is, as the only feature of the probe."""
PAPER, CONDITIONED = "Stage 2", "conditioned Stage 2"

AGAINST: Mapping[str, tuple[str, ...]] = {
    CLOSED_FORM: (PAPER,),
    OF_MEASURES: (CLOSED_FORM, PAPER),
    OF_ECG_AND_MEASURES: (CLOSED_FORM, PAPER),
    AFTER: (PAPER,),
    OF_MEASURES_AFTER: (OF_MEASURES, PAPER),
    CONDITIONED: (PAPER,),
}
"""Which methods' own pairs, as many, each method's are compared with."""

BY_LABEL = (CLOSED_FORM, OF_MEASURES_AFTER, ORACLE)
"""Methods that are shown label by label."""

OWN, EQUALLY_ILL, RANDOM_VECTORS = "own", "equally ill", "random vectors"
"""Whose targets a film is given: its patient's, another patient's of the same tenth of acuity, or nobody's."""

PAPERS_PROBE, BOTH = "paper's probe", "both"
"""A condition (features are read by ridge unless by that), and a pooling: class token beside the mean of patches."""
AREA, WITHIN = "auroc", "auroc_within_tenths"
"""Measures: over all pairs of patients, and over those who are equally ill."""
MEASURES = (AREA, WITHIN)
SHARE = "share_of_gain"
R2 = "r2_beyond_acuity"


def more_beyond(measure: str) -> str:
    """The metric of own minus equally ill of one method, less the same of another."""
    return difference_metric(f"{measure}_own_minus_equally_ill")


HEADLINE = DENSE_GROUP
"""The group of labels that bars ask for, and of which every Stage 1 is shown by itself."""


def dataset_of(group: str, *, is_blind: bool = False) -> str:
    """Labels of a group, asked of films as they are or of those that show nothing and are taken alike."""
    return f"{HOSPITAL}, {'films of nothing, ' * is_blind}{group}"


def subject(method: str, num_pairs: int, taught: str, *, by_papers_probe: bool = False) -> Subject:
    """An encoder that was taught something by some number of pairs."""
    parts = [f"{num_pairs:,} pairs", taught, *([PAPERS_PROBE] if by_papers_probe else [])]
    return Subject(method, condition=", ".join(parts))


def of_stage_1(name: Subject, seed: int) -> Subject:
    """The same of a single Stage 1."""
    return Subject(name.encoder, name.pooling, f"{name.condition}, Stage 1 seed {seed}")


def untaught(name: str, pooling: str = "", *, by_papers_probe: bool = False) -> Subject:
    """What no pair has taught: the MAE, or acuity itself."""
    return Subject(name, pooling, PAPERS_PROBE if by_papers_probe else "")


def baseline(*, by_papers_probe: bool = False) -> Subject:
    """The MAE as it is released, which gains are over."""
    return untaught(MAE, by_papers_probe=by_papers_probe)


def share_of_oracle(measure: str) -> str:
    """The metric of the share of what the oracle learns, of scores by this measure."""
    return "share_of_oracle" if measure == AREA else "share_of_oracle_within_tenths"
