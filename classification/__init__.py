"""Phase 2: one federated classifier learns from each site's locally mended images."""
