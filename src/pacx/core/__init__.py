"""What every room stands on: errors, constants, stateless randomness, atomic artifacts. Knows numpy, never torch."""
