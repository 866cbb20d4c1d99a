"""Figures of merit with their intervals, from well-kept libraries wherever one has them."""
