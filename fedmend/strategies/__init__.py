"""Federated algorithms: both halves of each in one file."""
