"""The procedural landmark set: drawn facades, rendered views with known homographies, and the writer of the folder."""
