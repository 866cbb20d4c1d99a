"""Opacity detectors: training and evaluation workflows, baselines, figures and inference."""
