"""Pixels to model input and back, boxes, saliency, augmentation. Knows nothing of engines."""
