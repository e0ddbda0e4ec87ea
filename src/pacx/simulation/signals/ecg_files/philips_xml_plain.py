"""Philips SierraECG 1.04 without compression: base64 of the leads, one after the other."""

from pacx.simulation.signals.ecg_files.philips_xml import PhilipsXmlWriter

WRITER = PhilipsXmlWriter(is_compressed=False)
