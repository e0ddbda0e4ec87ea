"""The way of a film through the server: admitted, read, decoded, embedded by each encoder asked for, answered.

`body -> worker process -> squares -> one batch queue per encoder -> JSON`. Decoding of one film runs beside the batches
of others. A deadline stands over the whole; whoever gives up is taken out of every queue he waits in.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pacx.inference.answers import ModelAnswer, picture_json
from pacx.inference.export_folder import RESEARCH_USE
from pacx.serving.admission import Admission
from pacx.serving.batching import BatchQueue
from pacx.serving.decoding.pool import DecodedFilm, DecoderPool
from pacx.serving.decoding.worker import Question
from pacx.serving.limits import MIB, Limits
from pacx.serving.metrics import Metrics
from pacx.serving.refusal import refuse
from pacx.serving.request_bodies import read_body
from pacx.serving.runtime import FilmQuestion, ServedEncoder


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a request asks for.

    Args:
        models: names; none for all.
        embedding: whether embeddings are wanted.
        attention: whether attention maps are.
        film: whether the film as the encoder saw it is.
    """

    models: tuple[str, ...] = ()
    embedding: bool = True
    attention: bool = False
    film: bool = False


class Service:
    """Encoders behind queues.

    Args:
        encoders: at least one, with names of their own.
        limits: what a request may use.

    Raises:
        WorkerDied: decoding processes do not start.
    """

    def __init__(self, encoders: Sequence[ServedEncoder], limits: Limits) -> None:
        self.limits, self.metrics, self.admission = limits, Metrics(), Admission(limits)
        self.encoders = {encoder.name: encoder for encoder in encoders}
        self.decoders = DecoderPool(limits, lambda end: self.metrics.workers_replaced.labels(end.value).inc())
        self._queues = {encoder.name: self._queue_of(encoder) for encoder in encoders}
        for encoder in encoders:
            about = (encoder.name, encoder.plan.precision.value, encoder.plan.runtime.value)
            self.metrics.models.labels(*about, encoder.export.encoder_sha256).set(1)
        for gauge, read in (
            (self.metrics.waiting, lambda: self.admission.num_waiting),
            (self.metrics.most_waiting, lambda: self.admission.most_waiting),
            (self.metrics.held_bytes, lambda: self.admission.held_bytes),
        ):
            gauge.set_function(read)

    def _queue_of(self, encoder: ServedEncoder) -> BatchQueue[FilmQuestion, ModelAnswer]:
        waits = encoder.films_per_run is None  # for company, of which a graph that takes few films at a time has no use
        return BatchQueue(
            encoder.answer,
            max_batch=encoder.films_per_run or self.limits.max_batch,
            max_delay_s=self.limits.max_delay_ms / 1000 if waits else 0,
            num_threads=encoder.plan.num_streams,
            observe=self.metrics.batch_size.labels(encoder.name).observe,
        )

    def close(self) -> None:
        """End queues and workers after what they hold is answered."""
        for queue in self._queues.values():
            queue.close()
        self.decoders.close()

    def describe(self) -> dict[str, Any]:
        """What is served, JSON values."""
        return {
            "research_use": RESEARCH_USE,
            "models": [encoder.describe() for encoder in self.encoders.values()],
        }

    def check(self, wanted: Wanted) -> tuple[str, ...]:
        """The names of the encoders wanted.

        Raises:
            RefusedRequest: one is not served (404).
        """
        names = wanted.models or tuple(self.encoders)
        if not set(names) <= set(self.encoders):
            raise refuse(404, f"there is no such model here; served are {', '.join(self.encoders)}")
        return names

    async def predict(self, media_type: str, pieces: AsyncIterator[bytes], wanted: Wanted) -> dict[str, Any]:
        """Answer one film, as JSON values.

        Args:
            media_type: what the caller says the film is.
            pieces: its body, not yet read.
            wanted: what is asked for.

        Raises:
            RefusedRequest: with the status and the sentence for the caller.
            Exception: whatever the encoder's runtime raised for this very film.
        """
        names = self.check(wanted)
        with self.admission.place(), self._timed("total"):
            try:
                async with asyncio.timeout(self.limits.deadline_s):
                    film = await self._film(media_type, pieces, names, wanted)
                    with self._timed("infer"):
                        answers = await self._ask(film, names, wants_attention=wanted.attention)
            except TimeoutError:
                raise refuse(
                    503, f"the answer took more than {self.limits.deadline_s:g} s; try again", retry_after_s=5
                ) from None
        return self._json(film, dict(zip(names, answers, strict=True)), wanted)

    async def _film(
        self, media_type: str, pieces: AsyncIterator[bytes], names: Sequence[str], wanted: Wanted
    ) -> DecodedFilm:
        held = 0

        def hold(num_bytes: int) -> None:
            nonlocal held
            self.admission.hold(num_bytes)
            held += num_bytes

        sides = tuple(dict.fromkeys(self.encoders[name].export.image_size_px for name in names))
        try:
            with self._timed("body"):
                body = await read_body(pieces, self.limits, hold)
            question = Question(
                media_type=media_type,
                sides_px=sides,
                wants_picture=wanted.film,
                cpu_s=self.limits.decode_cpu_s + self.limits.decode_cpu_s_per_mib * len(body) / MIB,
            )
            with self._timed("decode"):
                return await asyncio.wrap_future(self.decoders.decode(question, body))
        finally:
            self.admission.hold(-held)

    async def _ask(self, film: DecodedFilm, names: Sequence[str], *, wants_attention: bool) -> list[ModelAnswer]:
        questions = [
            FilmQuestion(
                film.squares[self.encoders[name].export.image_size_px],
                wants_attention and self.encoders[name].has_attention,
            )
            for name in names
        ]
        asked = [self._queues[name].submit(question) for name, question in zip(names, questions, strict=True)]
        return await asyncio.gather(*map(asyncio.wrap_future, asked))

    def _json(self, film: DecodedFilm, answers: dict[str, ModelAnswer], wanted: Wanted) -> dict[str, Any]:
        models = {}
        for name, answer in answers.items():
            encoder = self.encoders[name]
            models[name] = answer.to_json(with_embedding=wanted.embedding) | {
                "weights_sha256": encoder.export.encoder_sha256,
                "preprocessing_sha256": encoder.export.preprocessing_sha256,
                "precision": encoder.plan.precision.value,
            }
        return {"research_use": RESEARCH_USE, "film": picture_json(film.picture), "models": models}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.metrics.seconds.labels(stage).observe(time.perf_counter() - began)
