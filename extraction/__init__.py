"""Images to features: image -> pyramid -> Features -> feature store."""
