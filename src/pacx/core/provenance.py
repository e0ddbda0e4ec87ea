"""Where a number came from: versions, commit, seed, machine. Saved with every run and printed in every report."""

import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pacx.core.typed_json import TypedJson

_REPORTED = ("pacx", "torch", "timm", "peft", "lightning-fabric", "numpy", "scikit-learn", "pandas")


def _commit() -> str:
    """The commit of the source tree this package was imported from; 'unknown' for an installed wheel."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class Provenance(TypedJson):
    """What someone needs to make a result again."""

    command: str
    seed: int
    commit: str
    python: str
    machine: str
    versions: dict[str, str]


def provenance(command: str, seed: int) -> Provenance:
    """Describe this process: which command, seed, commit and library versions."""
    return Provenance(
        command=command,
        seed=seed,
        commit=_commit(),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        versions={name: metadata.version(name) for name in _REPORTED},
    )
