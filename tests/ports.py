"""A port on this machine for processes that have to find each other."""

import random
import socket


def free_port() -> int:
    """A port that nobody has now, outside of the range from which connections elsewhere are given theirs.

    A port out of that range, released and taken again a second later, is now and then somebody else's by then.
    """
    drawn = random.SystemRandom()
    while True:
        port = drawn.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
