"""Metrics: ranking quality, GLDv2 scores, inlier accuracy."""
