"""The rows of scripts/bench.sh."""
