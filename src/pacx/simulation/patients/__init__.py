"""Simulated patients: their physiology, diseases and labels, and the way their films are taken."""
