"""Measure models on their predictions, with intervals over patients."""
