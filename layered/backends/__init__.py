"""Backends: one folder each, interchangeable, independent of each other."""
