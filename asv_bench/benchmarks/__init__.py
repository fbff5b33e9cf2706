"""Benchmarks of numgrad for asv. Each ``setup`` runs what is timed once, so that no compilation is in the figures."""
