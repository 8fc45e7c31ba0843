"""Noises: one file per physical cause."""
