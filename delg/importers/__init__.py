"""Readers of published weight files, and their names in our model."""
