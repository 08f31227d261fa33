"""The report of a benchmark: a value object, its JSON form, text tables, and one self-contained page."""
