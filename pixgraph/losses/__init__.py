"""Segmentation and node-contrastive losses, one a file."""
