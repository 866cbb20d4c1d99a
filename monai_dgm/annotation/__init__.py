"""What readers say about radiographs: their labels, the formats these travel in, consensus, and whom to ask what next.

Knows nothing of networks or servers: `engines` and the apps call it. May import data, metrics and transforms.
"""
