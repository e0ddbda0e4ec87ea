"""The whole method on a simulated hospital, from nothing to a report."""
