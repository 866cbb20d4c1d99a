"""What a labelling server needs: labels, active learning, DICOM objects, archives, training from corrections.

It stands beside the networks, losses, transforms, data and engines. It may import all of them; none of them imports
it.
"""
