"""One process trains alone wherever a cluster lets it run, and several only where a launcher started them."""

from dataclasses import replace

import pytest
from tiny_task import CONFIG, TinyTask

from pacx.core.errors import UsageError
from pacx.training.engine import build_fabric

_ALLOCATION = {"SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "chest", "SLURM_NTASKS": "4", "SLURM_NNODES": "1"}
_BATCH_STEP = _ALLOCATION | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
_SRUN = _BATCH_STEP | {"SLURM_STEP_ID": "0"}


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        _ALLOCATION,
        _ALLOCATION | {"SLURM_NTASKS_PER_NODE": "4"},
        _BATCH_STEP,
        _BATCH_STEP | {"SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2"},
        _SRUN | {"SLURM_NTASKS": "1"},
        _SRUN | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "4"},
        _SRUN | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},  # the shell of salloc
        {"WORLD_SIZE": "4", "RANK": "0"},  # a pod's own
        {"PBS_NODEFILE": "/var/spool/pbs/aux/1", "PBS_NP": "4"},
        {"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "4", "LSB_DJOB_RANKFILE": "/tmp/hosts"},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
    ],
)
def test_one_process_waits_for_nobody(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    _set(monkeypatch, variables)
    fabric = build_fabric(TinyTask(), CONFIG)
    assert fabric.world_size == 1
    assert fabric.is_global_zero


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (_SRUN, r"srun started 4 processes \(SLURM_NTASKS\).*'srun --ntasks=1'"),
        (_SRUN | {"SLURM_STEP_NUM_TASKS": "2"}, r"srun started 2 processes \(SLURM_STEP_NUM_TASKS\)"),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8"}, r"torchrun started 8 processes .*--training.devices 8"),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, "mpirun started 4 processes"),
        ({"JSM_NAMESPACE_RANK": "3", "JSM_NAMESPACE_SIZE": "6"}, "jsrun started 6 processes"),
    ],
)
def test_several_do_not_each_write_the_run_of_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    _set(monkeypatch, variables)
    with pytest.raises(UsageError, match=said):
        build_fabric(TinyTask(), CONFIG)


@pytest.mark.parametrize("variables", [_ALLOCATION, _BATCH_STEP])
def test_several_are_not_waited_for_where_nobody_started_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    _set(monkeypatch, variables)
    with pytest.raises(UsageError, match=r"4 processes .*SLURM_NTASKS=4.*only srun .*'srun --ntasks=1'"):
        build_fabric(TinyTask(), replace(CONFIG, devices=4))
