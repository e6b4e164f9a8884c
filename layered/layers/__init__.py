"""Layers: one file each, interchangeable, independent of each other."""
