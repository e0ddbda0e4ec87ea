"""A chest film from physiology: anatomy, projection, devices, exposure."""
