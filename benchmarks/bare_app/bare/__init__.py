"""A bare two-phase Flower app."""
