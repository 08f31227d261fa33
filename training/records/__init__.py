"""Training records: from labelled images to TFRecord shards, and their checks."""
