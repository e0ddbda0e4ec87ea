"""Linear probes on all training labels (the paper's Table 1), by subgroup too."""

from dataclasses import dataclass, field

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Outcome, Protocol
from pacx.evaluation.settings import ProbeConfig


@dataclass(frozen=True, kw_only=True)
class LinearProbeSettings:
    """Train linear probes on cached embeddings and score them on the test split, with patient-level intervals."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    subgroups: bool = True
    """Score sex, age, view and site apart as well, where the pack knows them."""

    released_code: bool = False
    """Train probes as the authors' code does as well: AdamW and mirrored films."""

    save: bool = False
    """Keep a classifier in each encoder folder's sub-folder classifier: a probe on all training patients, and many on
    random halves of them, from which its probabilities have intervals."""

    num_halves: int = 100
    """Probes on random halves of the training patients, behind those intervals."""


class LinearProbe(Protocol[LinearProbeSettings]):
    """``evaluation.probes.linear_probe`` on all training labels, by subgroup too."""

    name, summary, headline = "linear-probe", "linear probe on all training labels (Table 1)", "auroc"
    settings = LinearProbeSettings
    needs = (Need.SPLITS, Need.LABELS)

    def run(self, films: EncodedPack, settings: LinearProbeSettings, comparison: Comparison) -> Outcome:
        """Rows of the probe, of its subgroups, and of the released code's probe where it is asked for."""
        from pacx.evaluation.embeddings import embed_pack, mirrored
        from pacx.evaluation.probes.classifier import fit_classifier
        from pacx.evaluation.probes.linear_probe import linear_probe, released_code_probe
        from pacx.evaluation.statistics.subgroups import groupings
        from pacx.models.heads.classifier import save_classifier

        data, features = films.data(comparison.dataset), films.features(comparison.device)
        grouped = groupings(films.pack.table) if settings.subgroups else ()
        rows = linear_probe(data, features, comparison, config=settings.probe, grouped=grouped)
        if settings.released_code:
            flipped = {
                name: embed_pack(encoder, films.pack, device=comparison.device, alter=mirrored)
                for name, encoder in films.encoders.items()
            }
            rows += released_code_probe(data, features, flipped, comparison, config=settings.probe)
        remarks = films.not_kept("classifiers") if settings.save else []
        for name, folder in films.folders.items() if settings.save else ():
            fitted = fit_classifier(
                data,
                features[name],
                config=settings.probe,
                num_halves=settings.num_halves,
                device=comparison.device,
            )
            out = save_classifier(folder, fitted)
            labels = f"{len(fitted.labels)} labels written to {out}"
            remarks.append(f"classifier of {name} for {labels}: {fitted.fitted_on}")
        return Outcome(rows=rows, remarks=remarks)


PROTOCOL = LinearProbe()
