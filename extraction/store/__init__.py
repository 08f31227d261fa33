"""The feature store: features of many images in one folder."""
