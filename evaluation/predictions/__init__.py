"""Rankings as files for other programs."""
