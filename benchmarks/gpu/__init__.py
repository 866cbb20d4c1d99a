"""Parts of benchmarks/train_weights.py."""
