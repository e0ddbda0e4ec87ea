"""Hold the measures of ECGs against the simulator's truth, and against what the ECG encoder knows of the heart.

    python benchmarks/ecg_measures.py truth [--patients 1000] [--seed 7]
    python benchmarks/ecg_measures.py detectors [--patients 400] [--seed 8]
    python benchmarks/ecg_measures.py beyond-acuity --encoder RUN/ecg [--learn 900] [--patients 2000] [--seed 0]
    python benchmarks/ecg_measures.py time [--patients 320] [--workers 1 2]
    python benchmarks/ecg_measures.py real --recordings ecg/

``truth`` prints errors of measures against the waves the simulator drew, median and spread. ``detectors`` counts
heartbeats found and made up by ours and, where it is installed (``pip install neurokit2==0.3.0``, which this project
does not need), by NeuroKit2's, and its delineation's errors. ``beyond-acuity`` prints, with bootstrap intervals over
patients, how much of the heart's state five-fold ridge regression reads from the embedding of ``--encoder`` (made by
``pacx train ecg-tiny`` on the first patients), from raw measures, from their autoencoder's embedding, and from both, of
what a spline of acuity leaves. ``time`` is processor seconds per recording and wall seconds by workers. ``real`` prints
ranges of measures on real recordings, by what their labels say.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = ["heart_rate", "rr_rmssd", "rr_deviant", "p_share", "pr_interval", "qrs_duration", "qtc_fridericia", "qrs_limb"]
LABELS = ["NSR", "AF", "RBBB", "LBBB", "SB", "STach", "LQRSV", "LVH"]
EDGE = {"p": 0.05, "qrs": 0.05, "t": 0.1}
"""Where a wave begins and ends in truth: share of its largest dipole."""


def people(ids: list[str], seed: int) -> Any:  # noqa: ANN401 - Physiology
    """Patients of the simulated university hospital."""
    from pacx.simulation.patients.population import draw_physiology
    from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL

    return draw_physiology(ids, seed=seed, site=UNIVERSITY_HOSPITAL)


def truth(physiology: Any, ids: list[str], seed: int) -> dict[str, np.ndarray]:  # noqa: ANN401
    """What the simulator drew: beats (N, B) in s, intervals (N,) in ms, frontal axes (N,) in degrees; NaN = no wave."""
    from pacx.core.randomness import sample_keys, uniform
    from pacx.simulation.signals import ecg
    from pacx.simulation.signals.ecg_beat import Temperament, beat_waves

    keys = sample_keys(ids)
    temper = Temperament(*ecg._normals(seed, "ecg-temperament", keys, len(Temperament._fields)).T)
    breath_hz = 0.2 + 0.15 * uniform(seed, "ecg-pace", 0, keys, 4)[:, 0]
    beats_s = ecg._beat_times_s(physiology, breath_hz, ecg._normals(seed, "ecg-beats", keys, ecg._MAX_BEATS))
    drawn = beat_waves(physiology, temper)
    time_s = np.arange(-0.36, 0.8, 0.001)
    offset = (time_s - drawn.center_s[..., None]) / drawn.width_s[..., None]
    shapes = np.exp(-0.5 * np.square(offset))
    found: dict[str, np.ndarray] = {"beats_s": beats_s}
    for name, chosen in (("p", slice(0, 2)), ("qrs", slice(2, 8)), ("t", slice(9, 11))):
        dipole = np.einsum("nwt,nwc->nct", shapes[:, chosen], drawn.dipole_mv[:, chosen])
        size = np.linalg.norm(dipole, axis=1)
        is_wave = size > EDGE[name] * size.max(axis=1, keepdims=True)
        none = size.max(axis=1) < 1e-4
        found[f"{name}_onset"] = np.where(none, np.nan, time_s[is_wave.argmax(axis=1)])
        found[f"{name}_end"] = np.where(none, np.nan, time_s[len(time_s) - 1 - is_wave[:, ::-1].argmax(axis=1)])
        left, feet = dipole.sum(axis=2)[:, :2].T
        found[f"{name}_axis"] = np.rad2deg(np.arctan2(feet, left))
    found["qrs_duration"] = 1e3 * (found["qrs_end"] - found["qrs_onset"])
    found["qt_interval"] = 1e3 * (found["t_end"] - found["qrs_onset"])
    found["pr_interval"] = 1e3 * (found["qrs_onset"] - found["p_onset"])
    found["p_duration"] = 1e3 * (found["p_end"] - found["p_onset"])
    within = [times[(times > 0.1) & (times < 9.9)] for times in beats_s]
    found["heart_rate"] = np.array([60 / np.diff(times).mean() for times in within])
    return found


def filtered(signals: np.ndarray) -> np.ndarray:
    """Recordings (N, 12, 5000) in mV behind the filters of an ECG pack."""
    from pacx.modalities.ecg_measurements.job import MEASURED_INPUT
    from pacx.modalities.ecg_signal.job import preprocess_ecg
    from pacx.modalities.ecg_signal.recordings import EcgRecordings

    ids = tuple(f"r{row}" for row in range(len(signals)))
    return preprocess_ecg(EcgRecordings(ids, signals), MEASURED_INPUT)


def simulated(ids: list[str], physiology: Any, seed: int) -> np.ndarray:  # noqa: ANN401
    """Their recordings behind the filters."""
    from pacx.simulation.signals.ecg import simulate_ecg

    return filtered(simulate_ecg(physiology, ids, seed=seed))


def compare(args: argparse.Namespace) -> None:
    """Errors against the truth, by conduction and rhythm."""
    from pacx.modalities.ecg_measurements.measures import ECG_MEASURES, measured

    ids = [f"t{row}" for row in range(args.patients)]
    physiology = people(ids, args.seed)
    drawn = truth(physiology, ids, args.seed)
    values = np.array([measured(record, 500) for record in simulated(ids, physiology, args.seed)])
    taken = dict(zip(ECG_MEASURES.keys, values.T, strict=True))
    sinus = physiology.rhythm == 0
    groups = {"all": np.ones(len(ids), bool), "sinus, normal conduction": sinus & (physiology.conduction == 0)}
    groups |= {"left bundle block": sinus & (physiology.conduction == 1)}
    groups |= {"right bundle block": sinus & (physiology.conduction == 2)}
    groups |= {"fibrillation": physiology.rhythm == 1, "paced": physiology.rhythm == 2}
    for name, rows in groups.items():
        print(f"{name}: {rows.sum()}")
        for key in ("heart_rate", "qrs_duration", "qt_interval", "pr_interval", "p_duration"):
            say(key, taken[key][rows], taken[key][rows] - drawn[key][rows], drawn[key][rows])
        for wave in ("p", "qrs", "t"):
            angle = np.rad2deg(np.arctan2(taken[f"{wave}_axis_sin"], taken[f"{wave}_axis_cos"]))
            error = (angle - drawn[f"{wave}_axis"] + 180) % 360 - 180
            say(f"{wave} axis", angle[rows], np.where(np.isnan(drawn[f"{wave}_onset"]), np.nan, error)[rows], None)


def say(what: str, taken: np.ndarray, error: np.ndarray, drawn: np.ndarray | None) -> None:
    """Median error, what half and nine tenths of recordings deviate from it, and how often there is no measure."""
    known = np.isfinite(error)
    if not known.any():
        print(f"  {what:16s} measured in {np.isfinite(taken).mean():.3f}, drawn in none")
        return
    middle = np.median(error[known])
    half, most = np.percentile(np.abs(error[known] - middle), [50, 90])
    together = ""
    if drawn is not None and known.sum() > 2:
        together = f", r {np.corrcoef(taken[known], drawn[known])[0, 1]:.3f}"
    missed = np.isnan(taken).mean()
    spread = f"beside it 50 % {half:5.1f}, 90 % {most:5.1f}"
    print(f"  {what:16s} median error {middle:6.1f}, {spread}, none in {missed:.3f}{together}")


def count(found: np.ndarray, beats_s: np.ndarray) -> np.ndarray:
    """Beats of the truth that were found, how many there are, beats found that are true, how many were found."""
    wanted = beats_s[(beats_s > 0.35) & (beats_s < 9.8)]
    near = found[(found > 0.35) & (found < 9.8)]
    hits = [len(found) > 0 and np.abs(found - beat).min() < 0.1 for beat in wanted]
    right = [np.abs(beats_s - beat).min() < 0.1 for beat in near]
    return np.array([sum(hits), len(hits), sum(right), len(right)])


def detectors(args: argparse.Namespace) -> None:
    """Heartbeats found by ours and by NeuroKit2 on the same recordings, and its delineation."""
    from pacx.modalities.ecg_measurements.heartbeats import INDEPENDENT, heartbeats

    ids = [f"q{row}" for row in range(args.patients)]
    physiology = people(ids, args.seed)
    drawn = truth(physiology, ids, args.seed)
    records = simulated(ids, physiology, args.seed).astype(float)
    leads = list(INDEPENDENT)
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {"ours": lambda record: heartbeats(record, 500).times_s}
    try:
        import neurokit2
        from scipy.signal import butter, sosfiltfilt
    except ModuleNotFoundError:
        print("neurokit2 is not installed: ours alone")
    else:
        band, smooth = butter(2, (5, 25), "bandpass", fs=500, output="sos"), butter(2, 12, fs=500, output="sos")

        def peaks(signal: np.ndarray, **more: float) -> np.ndarray:
            padded = np.pad(signal, 1000, mode="reflect")  # it passes over the first 0.3 s
            found = neurokit2.ecg_findpeaks(padded, sampling_rate=500, **more)["ECG_R_Peaks"] - 1000
            return found[(found >= 0) & (found < len(signal))] / 500

        def envelope(record: np.ndarray) -> np.ndarray:
            return sosfiltfilt(smooth, np.sqrt(np.square(sosfiltfilt(band, record[leads])).sum(axis=0)))

        ways |= {
            "NeuroKit2, lead II": lambda record: peaks(record[1]),
            "NeuroKit2, all leads": lambda record: peaks(np.linalg.norm(record[leads], axis=0)),
            "NeuroKit2, all leads in the QRS band": lambda record: peaks(envelope(record), mindelay=0.2),
        }
    for name, way in ways.items():
        start = time.process_time()
        counts = np.array([count(way(record), beats) for record, beats in zip(records, drawn["beats_s"], strict=True)])
        spent = (time.process_time() - start) / len(records) * 1e3
        wrong = ((counts[:, 0] < counts[:, 1]) | (counts[:, 2] < counts[:, 3])).sum()
        found, all_of_them, right, taken = counts.sum(axis=0)
        print(
            f"{name}: found {found} of {all_of_them}, {taken - right} of {taken} made up, {wrong} of {len(records)} "
            f"recordings with an error, {spent:.1f} ms"
        )
    if len(ways) > 1:
        delineate(records[:100], {key: each[:100] for key, each in drawn.items()}, physiology.rhythm[:100])


def delineate(records: np.ndarray, drawn: dict[str, np.ndarray], rhythm: np.ndarray) -> None:
    """Errors of NeuroKit2's delineation (wavelets, lead II) from our own R peaks."""
    import warnings

    import neurokit2

    from pacx.modalities.ecg_measurements.heartbeats import heartbeats

    rows, atrial, start = [], [], time.process_time()
    for record in records:
        peaks = np.rint(heartbeats(record, 500).times_s * 500).astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, found = neurokit2.ecg_delineate(record[1], peaks, sampling_rate=500, method="dwt")
            at = {
                name: np.asarray(found[f"ECG_{name}"], float) / 0.5
                for name in ("R_Onsets", "R_Offsets", "T_Offsets", "P_Onsets")
            }
            rows.append(
                [
                    np.nanmedian(at["R_Offsets"] - at["R_Onsets"]),
                    np.nanmedian(at["T_Offsets"] - at["R_Onsets"]),
                    np.nanmedian(at["R_Onsets"] - at["P_Onsets"]),
                ]
            )
        atrial.append(np.isfinite(at["P_Onsets"]).mean())
    print(f"delineation, {(time.process_time() - start) / len(records) * 1e3:.0f} ms:")
    for key, taken in zip(("qrs_duration", "qt_interval", "pr_interval"), np.array(rows).T, strict=True):
        say(key, taken, taken - drawn[key], drawn[key])
    print(f"  P waves in beats of fibrillating hearts: {np.mean(np.array(atrial)[rhythm == 1]):.2f}")


def beyond_acuity(args: argparse.Namespace) -> None:
    """R2 of the heart's state, less what a spline of acuity says of it, out of fold."""
    from pacx.modalities.ecg_measurements.job import MEASURED_INPUT, measured_table
    from pacx.modalities.ecg_signal.job import EcgJob
    from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
    from pacx.modalities.ecg_signal.recordings import EcgRecordings
    from pacx.modalities.ecg_signal.sources import source_of
    from pacx.modalities.modality import EmbeddingSettings
    from pacx.modalities.panel.encoder import PanelEncoder, PanelJob
    from pacx.modalities.panel.panels import PercentileScaler
    from pacx.models.ecg.encoder import load_ecg_encoder
    from pacx.recipes.ecg_measures import ecg_measures_tiny
    from pacx.simulation.signals.ecg import simulate_ecg
    from pacx.training.loop import train
    from pacx.training.task_config import PanelTaskConfig
    from pacx.training.tasks.panel import PanelTask

    settings = EmbeddingSettings(max_bad_fraction=0.01)
    tables, packs, states = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("m", args.learn), ("v", args.patients)):
            ids = [f"{name}{row}" for row in range(size)]
            states[name] = people(ids, args.seed)
            steps = np.rint(simulate_ecg(states[name], ids, seed=args.seed) * 1000) / 1000
            source = source_of(EcgRecordings(tuple(ids), steps))
            packs[name] = pack_ecgs(source, Path(folder) / name, MEASURED_INPUT, max_bad_fraction=0.01)
            tables[name] = measured_table(packs[name], settings)
        split = np.arange(args.learn)
        parts = split[: args.learn * 4 // 5], split[args.learn * 4 // 5 :]
        task = PanelTask(tables["m"], *parts, PanelTaskConfig(), args.seed)
        train(task, ecg_measures_tiny().training, Path(folder) / "run")
        encoder = PanelEncoder.load(Path(folder) / "run" / "ecg-measures", tables["m"].panel)
        measures = PanelJob(encoder, tables["v"]).run(settings)
        ecg = EcgJob(load_ecg_encoder(args.encoder), packs["v"]).run(settings)
        ranked = PercentileScaler(tables["m"]).transform(tables["v"])
    chosen = [row for row, sample in enumerate(packs["v"].sample_ids) if measures.has([sample])[0]]
    ids = [packs["v"].sample_ids[row] for row in chosen]
    state = states["v"].take(np.array([int(sample[1:]) for sample in ids]))
    embedding, ours = ecg.for_samples(ids), measures.for_samples(ids)
    plain = np.concatenate([ranked.percentiles, ranked.observed], axis=1)
    features = {"ECG encoder": embedding, "measures": ours, "both": np.concatenate([embedding, ours], axis=1)}
    features["measures, not encoded"] = plain
    report(features, state, args.seed)


def report(features: dict[str, np.ndarray], state: Any, seed: int) -> None:  # noqa: ANN401 - Physiology
    """Out-of-fold R2 of residuals with 95 % intervals over patients, and of the difference to the first features."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer, StandardScaler

    folds = KFold(5, shuffle=True, random_state=seed)
    wanted = {
        "fibrillation": state.rhythm == 1,
        "right heart load": state.right_heart_load,
        "wall thickness": state.wall_thickness_mm,
        "dilation": state.ventricle_dilation,
        "right bundle block": state.conduction == 2,
        "left bundle block": state.conduction == 1,
        "paced": state.rhythm == 2,
        "heart rate": state.heart_rate_bpm,
        "ischaemia": state.ischemia,
    }
    draws = np.random.default_rng(seed).integers(0, len(state), (1000, len(state)))
    for name, value in wanted.items():
        known = make_pipeline(SplineTransformer(n_knots=6), RidgeCV(np.logspace(-6, 2, 9)))
        value = value.astype(float)
        rest = value - cross_val_predict(known, state.acuity[:, None], value, cv=folds)
        scores = {}
        for who, feature in features.items():
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
            error = np.square(rest - cross_val_predict(model, feature, rest, cv=folds))
            size = np.square(rest - rest.mean())
            scores[who] = np.concatenate([[1 - error.sum() / size.sum()], 1 - error[draws].sum(1) / size[draws].sum(1)])
        first = next(iter(scores.values()))
        said = []
        for who, score in scores.items():
            low, high = np.percentile(score[1:], [2.5, 97.5])
            more = np.percentile((score - first)[1:], [2.5, 97.5])
            said.append(f"{who} {score[0]:.2f} [{low:.2f}, {high:.2f}] (+ [{more[0]:.2f}, {more[1]:.2f}])")
        print(f"{name}: {'; '.join(said)}")


def clock(args: argparse.Namespace) -> None:
    """Processor seconds per recording in one process, and wall seconds and equality by number of processes."""
    from pacx.modalities.ecg_measurements.measures import measured
    from pacx.modalities.ecg_measurements.measuring import measured_pieces

    ids = [f"c{row}" for row in range(args.patients)]
    records = simulated(ids, people(ids, 0), 0)
    start = time.process_time()
    for record in records:
        measured(record, 500)
    print(f"{(time.process_time() - start) / len(records) * 1e3:.1f} ms of one processor a recording")
    pieces = [(ids[at : at + 32], records[at : at + 32], 500) for at in range(0, len(ids), 32)]
    before = None
    for workers in args.workers:
        start = time.perf_counter()
        values = np.concatenate([piece.values for piece in measured_pieces(pieces, workers)])
        same = "" if before is None else f", the same bytes: {before.tobytes() == values.tobytes()}"
        print(f"{workers} processes: {time.perf_counter() - start:.1f} s{same}")
        before = values


def real(args: argparse.Namespace) -> None:
    """Ranges on real recordings in arrays (n, 12, 5000) listed by an index.csv, by abbreviated diagnosis."""
    from pacx.modalities.ecg_measurements.job import MEASURED_INPUT
    from pacx.modalities.ecg_measurements.measures import ECG_MEASURES
    from pacx.modalities.ecg_measurements.measuring import measured_pieces
    from pacx.modalities.ecg_signal.facts import EcgUnit
    from pacx.modalities.ecg_signal.job import prepare_usable
    from pacx.modalities.ecg_signal.recordings import EcgRecordings

    rows = [row for row in csv.DictReader((args.recordings / "index.csv").open()) if row["npz"]]
    arrays = {name: np.load(args.recordings / name)["ecg"] for name in {row["npz"] for row in rows}}
    signals = np.stack([arrays[row["npz"]][int(row["npz_row"])] for row in rows])
    recordings = EcgRecordings(tuple(row["record"] for row in rows), signals, unit=EcgUnit.MICROVOLT)
    usable = prepare_usable(recordings, MEASURED_INPUT, max_bad_fraction=1)
    piece = next(iter(measured_pieces([(usable.sample_ids, usable.signals, 500)], 1)))
    print(f"{len(rows)} recordings, {len(usable.quarantined)} unusable, {len(piece.quarantined)} not measured")
    for entry in (*usable.quarantined, *piece.quarantined):
        print(f"  {entry}")
    said = {row["record"]: set(row["dx_abbrev"].replace("|", " ").replace(",", " ").split()) for row in rows}
    for name in ("all", *args.labels):
        chosen = [at for at, sample in enumerate(piece.sample_ids) if name == "all" or name in said[sample]]
        if not chosen:
            continue
        print(f"{name}: {len(chosen)}")
        for key in args.measures:
            column = piece.values[chosen, ECG_MEASURES.keys.index(key)]
            if np.isfinite(column).any():
                shown = np.nanpercentile(column, [5, 50, 95])
                missed = np.isnan(column).mean()
                print(f"  {key:16s} {shown[0]:8.2f} {shown[1]:8.2f} {shown[2]:8.2f}, none in {missed:.2f}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, run, patients, seed in (
        ("truth", compare, 1000, 7),
        ("detectors", detectors, 400, 8),
        ("beyond-acuity", beyond_acuity, 2000, 0),
        ("time", clock, 320, 0),
        ("real", real, 0, 0),
    ):
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("--patients", type=int, default=patients)
        verb.add_argument("--seed", type=int, default=seed)
        if name == "beyond-acuity":
            verb.add_argument("--encoder", type=Path, required=True)
            verb.add_argument("--learn", type=int, default=900)
        if name == "time":
            verb.add_argument("--workers", type=int, nargs="+", default=[1, 2])
        if name == "real":
            verb.add_argument("--recordings", type=Path, required=True)
            verb.add_argument(
                "--labels", nargs="+", default=["NSR", "AF", "RBBB", "LBBB", "SB", "STach", "LQRSV", "LVH"]
            )
            verb.add_argument("--measures", nargs="+", default=SHOWN)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
