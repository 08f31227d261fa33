"""Rerankers: a ranking in a new order, chosen by name in :mod:`matching.rerankers.table`."""
