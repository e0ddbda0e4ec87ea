"""What the same physiology does to the ECG, the laboratory values and the vital signs."""
