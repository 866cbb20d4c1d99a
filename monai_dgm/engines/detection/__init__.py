"""Opacity detectors: training and evaluation workflows, baselines, metrics and inference."""
