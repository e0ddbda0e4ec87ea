"""How ECGs are stored: one file per format, each recognised by its content and ending in an ``EcgRecord``."""
