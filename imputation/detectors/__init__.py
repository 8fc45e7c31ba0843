"""Blind detectors: which images are noisy."""
