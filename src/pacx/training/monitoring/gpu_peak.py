"""How much of a GPU's arithmetic a run uses: the one number that says whether a step is as fast as it could be."""

import torch

_PEAK_FLOPS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
}
"""Dense 16-bit tensor-core peaks of NVIDIA's data sheets, by what the device calls itself; the first match counts."""


def share_of_peak(
    samples_per_s: float, flops_per_sample: float | None, device: torch.device, precision: str
) -> float | None:
    """Arithmetic done over arithmetic possible, on one device; None where either is not known.

    Args:
        samples_per_s: of this device.
        flops_per_sample: forward and backward, or None.
        device: the peak is known for some GPUs.
        precision: the peaks are those of 16-bit products.
    """
    if flops_per_sample is None or device.type != "cuda" or precision == "32-true":
        return None
    return share_of(samples_per_s * flops_per_sample, torch.cuda.get_device_name(device))


def share_of(flops_per_s: float, name: str) -> float | None:
    """Arithmetic a second over the peak of the chip that calls itself ``name``; None for a chip not known here."""
    peak = next((peak for known, peak in _PEAK_FLOPS.items() if known in name), None)
    return None if peak is None else flops_per_s / peak
