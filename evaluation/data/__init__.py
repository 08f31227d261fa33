"""Data of benchmarks: catalogue, downloads, checks of folders."""
