"""Backbones: networks from images to feature maps, chosen by name in :mod:`delg.backbones.table`."""
