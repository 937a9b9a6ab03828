"""Pixel-level pretraining without labels: CNNs whose feature maps become the graph's node embeddings."""
