"""Networks of the disentangled generative model. Imports torch and MONAI only; nothing here knows of data or engines."""
