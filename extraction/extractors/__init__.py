"""Extractors: from an image to its features, chosen by name in :mod:`extraction.extractors.table`."""
