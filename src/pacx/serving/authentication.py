"""Who may ask: whoever holds the token; without one, whoever on this machine calls it by its own name."""

import hmac

from starlette.requests import Request

from pacx.serving.refusal import refuse

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SCHEME = "bearer "


class Access:
    """The check at the door of every route that answers about films.

    Args:
        token: what a request has to bear; None lets everybody in who names the machine as itself.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token is not None else None

    async def __call__(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            RefusedRequest: it bears no token or another (401), or a page of another site sent it (403).
        """
        if self._token is None:
            self._require_loopback(request)
            return
        borne = request.headers.get("authorization", "")
        is_bearer = borne[: len(_SCHEME)].lower() == _SCHEME
        if not (is_bearer and hmac.compare_digest(borne[len(_SCHEME) :].strip().encode(), self._token)):
            raise refuse(401, "this server answers only with its token; send 'Authorization: Bearer TOKEN'")

    def _require_loopback(self, request: Request) -> None:
        """A page elsewhere may let its own name point here; without a token the name is all that tells it apart."""
        host = request.headers.get("host", "").rsplit("]", 1)
        name = host[0].lstrip("[") if len(host) == 2 else host[0].partition(":")[0]
        if name not in LOOPBACK:
            raise refuse(403, "without a token this server answers only to 127.0.0.1 and localhost by these names")
