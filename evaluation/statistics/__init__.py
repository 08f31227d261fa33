"""Statistics: bootstrap intervals, paired tests, clusters of queries."""
