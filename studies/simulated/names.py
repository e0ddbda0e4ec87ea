"""What the study's rows call its controls, conditions and measures: its steps write it, its pages read it."""

SHUFFLED, RANDOM_TARGETS, AGE_AND_SEX = "shuffled-pairs", "random-targets", "age-and-sex"
WITHIN_VIEW, WITHIN_ACUITY = "shuffled-within-view", "shuffled-within-acuity"
CONTROLS = (SHUFFLED, WITHIN_VIEW, WITHIN_ACUITY, RANDOM_TARGETS, AGE_AND_SEX)
"""Stage 2 that is told something else than a patient's own signals."""
TOKENS, HALF_MISSING, SPARSE = "tokens", "half-missing", "sparse"

STANDARDIZED = "standardized"
HALF_VISIBLE, NOT_VISIBLE, BLIND = "visibility 0.5", "visibility 0", "visibility 0, film taken blindly"
NO_WIRES, WITHOUT_WIRES = "no wires", "read without wires"
"""Of encoders that were taught on such films, and of one that was not and is probed on them."""

STUDY, SHARE, HOSPITAL = "study", "share_of_gain", "simulated hospital"
"""Protocol, a metric of its own, and dataset."""
