"""Why a request is not answered: a status and one sentence that repeats nothing of what the request held."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """What the caller is told.

    Args:
        status: HTTP status, 4xx or 503.
        sentence: what is wrong and what to do; never a value out of the file or the headers.
        retry_after_s: when to try again, where that helps.
    """

    status: int
    sentence: str
    retry_after_s: int | None = None


class RefusedRequest(Exception):  # noqa: N818 - named for what it says of the request
    """Carries a refusal from wherever it was found to the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


def refuse(status: int, sentence: str, *, retry_after_s: int | None = None) -> RefusedRequest:
    """An exception to raise."""
    return RefusedRequest(Refusal(status, sentence, retry_after_s))
