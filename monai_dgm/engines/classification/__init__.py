"""Classifiers: data of a task, scores, figures and inference."""
