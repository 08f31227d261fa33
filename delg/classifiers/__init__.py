"""Classifiers of the global descriptor; training uses them, extraction does not."""
