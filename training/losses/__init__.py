"""Losses of both heads, chosen by name."""
