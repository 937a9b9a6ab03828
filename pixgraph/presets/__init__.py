"""Named settings of graph construction: what the study of it recommends."""
