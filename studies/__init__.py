"""Experiments of this project on its own ground, and the pages made from their rows. Not part of the package."""
