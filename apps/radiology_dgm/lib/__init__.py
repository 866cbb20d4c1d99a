"""The app inside MONAI Label: settings, tasks, and one file of routes for each purpose.

These files may import monai_dgm and MONAI Label. What can be tested without MONAI Label is in monai_dgm.labelling.
"""
