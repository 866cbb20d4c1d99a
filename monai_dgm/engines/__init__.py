"""The Ignite workflow: GAN steps, trainer, evaluator, checkpoints. May import everything above bundles."""
