"""Mending a hospital's own files with a trained imputer, no federation running."""
