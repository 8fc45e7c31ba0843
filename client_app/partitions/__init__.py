"""Partitions: how a simulation divides images among sites."""
