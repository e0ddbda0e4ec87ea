"""How linking is done; nothing here changes a pair, except for what is left out as bad."""

from dataclasses import dataclass

from pacx.core.errors import UsageError

_LEAST_MIB = 64


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Resources, and how much of a table may be unusable.

    Raises:
        UsageError: the share is outside [0, 1], or there is no worker, or too little memory.
    """

    max_bad_fraction: float = 0.001
    """Stop when more rows of a table than this share cannot be used."""

    num_workers: int = 2
    """Threads that read tables, and processes that look into recordings; never changes a byte."""

    memory_mib: int = 1024
    """Memory that tables may take; beyond it they go to the disk beside OUT."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_fraction <= 1:
            raise UsageError(f"max_bad_fraction is {self.max_bad_fraction}; give a share in [0, 1]")
        if self.num_workers < 1:
            raise UsageError(f"num_workers is {self.num_workers}; give at least 1")
        if self.memory_mib < _LEAST_MIB:
            raise UsageError(f"memory_mib is {self.memory_mib}; give at least {_LEAST_MIB}")
