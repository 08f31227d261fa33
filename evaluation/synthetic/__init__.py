"""The procedural landmark set: drawn views with exact ground truth."""
