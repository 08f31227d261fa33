"""The benchmark run: plan, features, search, result cache, report data."""
