"""Tools for preparing chest X-ray data sets and classifiers (not for clinical use)."""

__version__ = "0.1.0"
