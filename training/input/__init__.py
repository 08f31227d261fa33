"""Input pipeline: from records to augmented batches."""
