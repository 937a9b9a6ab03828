"""Photographs, masks, data sets, episodes and protocols."""
