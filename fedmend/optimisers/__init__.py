"""How parameters step along their gradients, one optimiser a file."""
