"""Conformance suites: the rules that layers, backends, extractors and codecs keep."""
