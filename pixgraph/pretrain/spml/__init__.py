"""SPML (Ke et al., ICLR 2021): pixel embeddings from few and weak labels, by pixel-to-segment contrasts."""
