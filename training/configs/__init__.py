"""Recipes of ``delg-train --config=NAME``; each file opens with its command, what it needs, and what to expect."""
