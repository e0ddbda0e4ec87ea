"""How linking is done, how much may be unusable, and whose films are left out; a rule says all else."""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import UsageError

LEAST_MIB = 64
"""Of memory, below which DuckDB cannot sort."""


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Resources, how much of a table may be unusable, and whom to keep apart.

    Raises:
        UsageError: a share is outside [0, 1], or there is no worker, or too little memory.
    """

    max_bad_fraction: float = 0.001
    """Stop when more rows of a table than this share cannot be used."""

    num_workers: int = 2
    """Threads that read tables, and processes that look into recordings; never changes a byte."""

    memory_mib: int = 1024
    """Memory that tables may take, and never more than half of what is free; beyond it they go to the disk beside
    OUT."""

    max_absent_fraction: float = 1.0
    """Stop when more than this share of the films, or of the recordings, that are wanted have no file."""

    disjoint_from: tuple[Path, ...] = ()
    """Packs that will test what is trained on the pairs; films of their patients are left out and counted. PACK:SPLIT
    means the patients of one split alone, as in packs/symile:test."""

    refuse_overlap: bool = False
    """Stop where such a pack shares patients, instead of leaving their films out."""

    def __post_init__(self) -> None:
        for name in ("max_bad_fraction", "max_absent_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give a share in [0, 1]")
        if self.num_workers < 1:
            raise UsageError(f"num_workers is {self.num_workers}; give at least 1")
        if self.memory_mib < LEAST_MIB:
            raise UsageError(f"memory_mib is {self.memory_mib}; give at least {LEAST_MIB}")
