"""What a server counts, for Prometheus. Labels are routes, statuses, stages and model names; nothing of a film."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32)


class Metrics:
    """One server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("pacx_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "pacx_stage_seconds",
            "Time of a prediction by stage: body, decode, infer, total",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "pacx_batch_films", "Films per forward pass", ["model"], buckets=_SIZES, registry=self.registry
        )
        self.waiting = Gauge("pacx_waiting_requests", "Requests accepted and not yet answered", registry=self.registry)
        self.most_waiting = Gauge(
            "pacx_waiting_requests_most", "The most there were at once since the start", registry=self.registry
        )
        self.held_bytes = Gauge("pacx_held_bytes", "Bytes of bodies held", registry=self.registry)
        self.workers_replaced = Counter(
            "pacx_decode_workers_replaced",
            "Decoding processes that died or were ended",
            ["end"],
            registry=self.registry,
        )
        self.models = Gauge(
            "pacx_model_info",
            "Always 1; what is served",
            ["model", "precision", "runtime", "weights_sha256"],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
