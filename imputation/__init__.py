"""Phase 1: one federated encoder-decoder finds and reconstructs corrupted regions."""
