"""The study of graph construction: which settings matter, how much, and which to take."""
