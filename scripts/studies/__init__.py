"""Studies: each script makes a table of the results pages."""
