"""Continual learning: systems that learn task after task."""
