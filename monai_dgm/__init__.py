"""monai-dgm: take a chest radiograph apart into the patient's normal radiograph and a residue map of the disease.

Implements Tang et al., "A disentangled generative model for disease decomposition in chest X-rays via normal image
synthesis", Medical Image Analysis 67 (2021). Research software; not a medical device.
"""

__version__ = "0.1.0"
