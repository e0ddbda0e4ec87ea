"""Laboratory values that are shipped split by split, beside a pack that says whose side a sample is on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pacx.cli.main import main
from pacx.core.artifacts import read_json
from pacx.core.errors import DataError
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.panel.labs import LAB_PANEL
from pacx.recipes.labs import labs_tiny
from pacx.recipes.samples import learning_rows, samples_met


def write_split(folder: Path, split: str, ids: np.ndarray) -> Path:
    """The three files of a split as Symile-MIMIC has them."""
    rng = np.random.default_rng(len(ids))
    observed = rng.random((len(ids), len(LAB_PANEL))) < 0.7
    np.save(folder / f"labs_percentiles_{split}.npy", (rng.random(observed.shape) * observed).astype(np.float32))
    np.save(folder / f"labs_missingness_{split}.npy", observed.astype(np.int64))
    np.save(folder / f"hadm_id_{split}.npy", ids)
    return folder / f"labs_percentiles_{split}.npy"


@pytest.fixture
def tables(labelled: Pack, tmp_path: Path) -> tuple[Path, Path]:
    """The training and the validation samples of the pack, a file each."""
    ids = np.array(labelled.sample_ids, str)
    return write_split(tmp_path, "train", ids[labelled.rows("train")]), write_split(
        tmp_path, "val", ids[labelled.rows("val")]
    )


def test_tables_of_several_splits_are_one_whose_sides_the_pack_decides(
    labelled: Pack, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["--table", *map(str, tables), "--pack", str(labelled.path), "--out", str(out), "--training.epochs", "1"]
    main(["train", "labs-tiny", *words, "--training.accelerator", "cpu", "--training.warmup-epochs", "0"])
    assert len(FrozenTargets.open(out / "targets").sample_ids) == 40
    measured = replace(labs_tiny(), table=tables).read()
    fitting, held_out = learning_rows(labelled.path, measured.sample_ids, measured.patient_ids, 0)
    assert (fitting.tolist(), held_out.tolist()) == (list(range(20)), list(range(20, 40)))


def test_one_of_the_splits_alone_is_told_to_bring_the_other(labelled: Pack, tables: tuple[Path, Path]) -> None:
    run = replace(labs_tiny(), table=tables[:1], pack=labelled.path)
    with pytest.raises(DataError, match=r"20 are in the training and 0 in the validation.*give the samples of both"):
        run.run()


def test_a_sample_in_two_tables_and_tables_of_two_kinds_are_refused(tables: tuple[Path, Path], tmp_path: Path) -> None:
    run = labs_tiny()
    with pytest.raises(DataError, match=r"name a sample more than once \(s0, "):
        replace(run, table=(tables[0], tables[0])).read()
    (tmp_path / "raw.csv").write_text(f"sample_id,{','.join(LAB_PANEL.keys)}\nz{',1' * len(LAB_PANEL)}\n")
    with pytest.raises(DataError, match="some tables of labs hold raw values and others percentiles"):
        replace(run, table=(tables[0], tmp_path / "raw.csv")).read()


def write_wide(path: Path, ids: list[str]) -> Path:
    lines = [f"{name}{f',{number + 1}' * len(LAB_PANEL)}" for number, name in enumerate(ids)]
    path.write_text("\n".join([f"sample_id,{','.join(LAB_PANEL.keys)}", *lines]) + "\n")
    return path


def test_a_table_that_hardly_meets_the_pack_is_refused_and_told_what_keeps_the_ids_apart(
    labelled: Pack, tmp_path: Path
) -> None:
    known, quick = list(labelled.sample_ids), {"epochs": 1, "warmup_epochs": 0, "accelerator": "cpu"}
    training = replace(labs_tiny().training, **quick)
    run = replace(labs_tiny(), pack=labelled.path, training=training, out=tmp_path / "run")
    prefixed = write_wide(tmp_path / "prefixed.csv", [name.upper() for name in known])
    with pytest.raises(DataError, match=r"only 0 of 60 samples .*; 60 ids would meet if upper and lower case are the"):
        replace(run, table=(prefixed,)).run()
    third = write_wide(tmp_path / "third.csv", [*known[:25], *(f"other{number}" for number in range(35))])
    with pytest.raises(DataError, match="only 25 of 60 samples have one of the 60 films"):
        replace(run, table=(third,)).run()
    summary = replace(run, table=(third,), partial_pairs=True).run()
    said = f"25 of 60 samples have one of the 60 films of {labelled.path}"
    assert said in summary.notes
    assert said in read_json(tmp_path / "run" / "summary.json")["notes"], "kept with the run"


def test_a_hospitals_whole_table_beside_a_few_films_is_no_mismatch(labelled: Pack, tmp_path: Path) -> None:
    ids = [*labelled.sample_ids, *(f"other{number}" for number in range(300))]
    assert samples_met(labelled.path, ids, is_partial=False) == (
        f"60 of 360 samples have one of the 60 films of {labelled.path}",
    )
    assert samples_met(None, ids, is_partial=False) == ()


def test_what_was_lost_in_reading_is_said_by_training_and_stays_with_the_targets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_wide(tmp_path / "labs.csv", [f"s{number}" for number in range(40)])
    table.write_text(table.read_text().replace("s7,8,8,", "s7,<8,none at all,"))
    words = ["train", "labs-tiny", "--table", str(table), "--out", str(tmp_path / "run"), "--training.epochs", "1"]
    words += ["--training.accelerator", "cpu", "--training.warmup-epochs", "0", "--reading.max-bad-fraction", "0.01"]
    main(words)
    notes = (
        "1 values are no numbers and count as not measured",
        "1 values are written as above or below a limit and count as that limit",
        "no column of labs.csv names the patients: every sample counts as a person of its own",
    )
    said = capsys.readouterr().err
    assert all(note in said for note in notes)
    assert FrozenTargets.open(tmp_path / "run" / "targets").notes == notes
