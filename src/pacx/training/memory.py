"""Keep what a step has freed for the next one, instead of giving it to the system and asking for it again.

A step frees and takes the same tensors as the one before. glibc hands the free end of its heap back at once, gradients
mostly, and the system fills every page with zeros when it is next touched: 90,000 pages a step of ViT-B/16. Where the C
library is another one, nothing is done.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# parameters of mallopt (malloc.h), glibc's defaults, and the most it takes for the second
_TRIM_THRESHOLD, _TRIM_BYTES, _NEVER = -1, 128 * 1024, -1
_MMAP_THRESHOLD, _MMAP_BYTES, _MOST_BYTES = -3, 128 * 1024, 32 * 1024**2


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, memory that is freed stays with the process; at the end, what is free goes back to the system."""
    c_library = ctypes.CDLL(None)
    if not (hasattr(c_library, "mallopt") and hasattr(c_library, "malloc_trim")):
        yield
        return
    c_library.mallopt(_TRIM_THRESHOLD, _NEVER)
    # as glibc would learn by itself, but for being told of the other: up to 32 MiB come from the heap
    c_library.mallopt(_MMAP_THRESHOLD, _MOST_BYTES)
    try:
        yield
    finally:
        c_library.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
        c_library.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        c_library.malloc_trim(ctypes.c_size_t(0))
