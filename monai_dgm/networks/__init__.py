"""Networks of the disentangled generative model. Imports torch alone; nothing here knows of data or engines."""
