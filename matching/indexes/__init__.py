"""Indexes of global descriptors: the first stage, one file for each kind."""
