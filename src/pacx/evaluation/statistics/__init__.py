"""How sure: metrics, patient-level bootstrap, DeLong's test, subgroups."""
