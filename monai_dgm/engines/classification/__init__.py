"""Classifiers: data of a task, scores, metrics and inference."""
