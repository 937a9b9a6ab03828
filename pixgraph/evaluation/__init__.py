"""Scores, trivial baselines and the evaluation of a protocol."""
