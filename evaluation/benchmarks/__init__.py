"""Benchmarks: the images of queries and database, and what is right for each query under each protocol."""
