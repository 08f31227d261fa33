"""Heads: global poolings and the local head, chosen by name."""
