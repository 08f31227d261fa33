"""A collection of photos: described once, kept in step with its folder, searched with a verdict."""
