"""Codecs: how arrays are encoded on the wire."""
