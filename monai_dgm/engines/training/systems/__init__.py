"""Training steps of the systems that the paper, and work since, compares with; one file for each system.

Each is a :class:`monai_dgm.engines.training.steps.TrainingStep` that the same trainer runs on the same batches.
"""
