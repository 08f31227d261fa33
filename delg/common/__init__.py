"""Helpers that every package may import: errors, files, texts of choices, progress. Imports no other package."""
