"""Recipes of ``delg-train --config=NAME``; each file opens with its command, what it needs, and what to expect.

``CONFIG`` holds the options; ``PRETRAINED`` says where the weights are had that the training begins with.
"""
