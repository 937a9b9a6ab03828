"""Frozen CNNs that give the node embeddings, and the cache of their features."""
