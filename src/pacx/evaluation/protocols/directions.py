"""How many directions films and targets share on patients nothing was fitted to, and how many given some columns."""

from dataclasses import dataclass, field
from pathlib import Path

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Outcome, Protocol
from pacx.evaluation.settings import DirectionsConfig


@dataclass(frozen=True, kw_only=True)
class DirectionsSettings:
    """Count the directions that films share with their patients' ECG and laboratory embeddings.

    By canonical correlations of patients held out; with --given also those that stay when columns of the table are
    taken out of both sides.
    """

    targets: tuple[Path, ...] = ()
    """Frozen target folders of the same patients, one per modality."""

    given: tuple[str, ...] = ()
    """Columns of the pack's records, such as age, sex, view or a severity, that are taken out of films and targets."""

    measured: tuple[str, ...] = ("test",)
    """Splits whose patients are measured, in folds; all others only serve to fit. An encoder that has never seen a
    target may be measured on every split (train val test); one that has, on patients whose pairs it has not seen."""

    directions: DirectionsConfig = field(default_factory=DirectionsConfig)
    """How many directions, folds and shuffles."""


class Directions(Protocol[DirectionsSettings]):
    """``evaluation.probes.shared_directions`` for every encoder, each folder of targets and all of them together."""

    name, summary, headline = "directions", "how many directions films and targets share", "shared_directions"
    settings = DirectionsSettings
    needs = ()
    inputs = ("targets",)
    example = "--targets runs/ecg/targets runs/labs/targets --given age sex"

    def run(self, films: EncodedPack, settings: DirectionsSettings, comparison: Comparison) -> Outcome:
        """Rows of every modality and of all together, over patients that have all of them."""
        import numpy as np

        from pacx.core.errors import DataError
        from pacx.data.pairs.linked_films import require_same_links
        from pacx.evaluation.probes.alignment import rows_with_targets
        from pacx.evaluation.probes.given_columns import taken_for_words
        from pacx.evaluation.probes.shared_directions import (
            DirectionsData,
            directions,
            given_columns,
            one_film_a_patient,
        )
        from pacx.modalities.targets import open_targets

        pack, targets = films.pack, open_targets(settings.targets)
        of_targets = {f"{target.modality} targets": target.notes for target in targets}
        require_same_links({str(pack.path): pack.manifest.notes, **of_targets})
        given = given_columns(pack.table, settings.given, pack.path)
        if missing := self.lacks(films, settings):
            raise DataError(f"directions: {pack.path} lacks {missing}")
        is_measured = np.isin(pack.table["split"].to_numpy(), settings.measured)
        known = rows_with_targets(pack, targets)
        rows = one_film_a_patient(pack.patient_ids, known, is_measured)
        values = {each.modality: each.for_samples(list(pack.sample_ids[rows])).astype(float) for each in targets}
        if len(values) > 1:
            values[" + ".join(values)] = np.concatenate(list(values.values()), axis=1)
        data = DirectionsData(
            dataset=comparison.dataset,
            targets=values,
            measured=np.flatnonzero(is_measured[rows]),
            given=given.iloc[rows].reset_index(drop=True),
            drawn_by=pack.drawn_by,
        )
        features = {name: array[rows].astype(float) for name, array in films.features(comparison.device).items()}
        found, said = directions(data, features, comparison, config=settings.directions)
        remarks = [f"{target.modality}: {note}" for target in targets for note in target.notes]
        remarks += taken_for_words(given)
        if len(known) < len(pack):
            remarks.append(
                f"{len(pack) - len(known)} of {len(pack)} films of {pack.path} have no target and are left out"
            )
        if len(rows) < len(known):
            remarks.append(
                f"{len(known) - len(rows)} further films of the same patients are left out, one a patient counts"
            )
        return Outcome(rows=found, remarks=[*remarks, *said])

    def lacks(self, films: EncodedPack, settings: DirectionsSettings) -> str:
        """Enough patients with targets in the splits that are measured."""
        import numpy as np

        from pacx.evaluation.probes.alignment import rows_with_targets
        from pacx.evaluation.probes.shared_directions import require_enough
        from pacx.modalities.targets import open_targets

        if missing := super().lacks(films, settings):
            return missing
        known = rows_with_targets(films.pack, open_targets(settings.targets))
        measured = known[np.isin(films.pack.table["split"].to_numpy()[known], settings.measured)]
        return require_enough(len(set(films.pack.patient_ids[measured])), settings.directions, settings.measured)

    def fingerprints(self, settings: DirectionsSettings, /) -> list[str]:
        """The targets' fingerprints, which a kept step depends on."""
        from pacx.modalities.targets import open_targets

        return [target.fingerprint for target in open_targets(settings.targets)]


PROTOCOL = Directions()
