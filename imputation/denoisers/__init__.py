"""Denoisers: networks that mend."""
