"""The service: a collection over HTTP, with a page."""
