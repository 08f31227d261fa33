"""Benchmarks, metrics, reports, and the procedural landmark set."""
