"""How much of anything a server lets a stranger use: bytes, pixels, processor seconds, memory, places in the queue."""

from dataclasses import dataclass

from pacx.core.errors import UsageError
from pacx.core.host import num_processors

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server accepts; every bound is checked before the thing it bounds is allocated or computed."""

    max_body_mib: int = 32
    """Largest file; the largest uncompressed 16-bit film of usual detectors has 29 MiB. Larger: 413."""

    max_waiting: int = 64
    """Requests accepted and not yet answered; one more: 429 with Retry-After."""

    max_held_mib: int = 256
    """Bytes of bodies held at once by all requests; a body that does not fit any more: 429."""

    max_batch: int = 8
    """Films per forward pass at most."""

    max_delay_ms: float = 4.0
    """How long an idle encoder waits for a second film before it begins with the first."""

    deadline_s: float = 30.0
    """From the first byte to the answer; later: 503."""

    body_grace_s: float = 1.5
    """How long a body may be slower than `body_kib_per_s`; then: 408."""

    body_kib_per_s: float = 16.0
    """Slowest pace of an upload after its time of grace, on average."""

    header_s: float = 5.0
    """How long a connection may take to send a request's headers; it is closed then."""

    max_header_kib: int = 16
    """Largest request line and headers."""

    max_connections: int = 512
    """Connections held open at once; one more is closed."""

    decode_workers: int = 0
    """Processes that decode films; 0 for one per processor, at most four."""

    decode_memory_mib: int = 2048
    """Address space of one of them; a file that needs more: 413."""

    decode_cpu_s: float = 1.5
    """Processor seconds for any film; a file that needs more than these and the next: 413."""

    decode_cpu_s_per_mib: float = 0.25
    """Processor seconds more for each MiB of the file."""

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        wrong = [name for name, value in values.items() if value < 0 or (value == 0 and name not in _MAY_BE_ZERO)]
        if wrong:
            raise UsageError(f"{wrong[0].replace('_', '-')} has to be positive, not {values[wrong[0]]}")

    @property
    def max_body_bytes(self) -> int:
        """Most bytes a request's body may have."""
        return self.max_body_mib * MIB

    @property
    def num_decode_workers(self) -> int:
        """How many processes decode."""
        return self.decode_workers or min(num_processors(), 4)


_MAY_BE_ZERO = ("max_delay_ms", "decode_workers")
