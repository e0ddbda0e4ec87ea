"""Plug-ins: one protocol per file, each with a ``PROTOCOL``; found by ``evaluation.protocol.protocols``."""
