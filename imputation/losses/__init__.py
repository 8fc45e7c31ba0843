"""Reconstruction losses of the imputer."""
