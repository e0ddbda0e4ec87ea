"""Panels of measurements: tables as hospitals export them, to values, percentiles and an encoder."""
