"""Linear maps in closed form between films and what was measured of their patients. Numpy alone, in 64 bits."""
