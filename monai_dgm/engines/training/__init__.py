"""Training: the GAN's steps and trainer, supervised trainers, checkpoints that survive a kill."""
