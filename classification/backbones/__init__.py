"""Backbones: the classifiers."""
