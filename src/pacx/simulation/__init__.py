"""A hospital that never was: patients with a known physiology, and the films, ECGs and labs it causes.

Flow: ``physiology`` draws patients; ``thorax``, ``ecg`` and ``labs`` each turn the same physiology into one signal;
``hospital`` writes cohorts to disk. Because the cause of every picture is known, so is every answer.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
