"""Rankings as files of other programs."""
