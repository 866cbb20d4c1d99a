"""The paper's argument in one command: trains what is missing, evaluates, and fills in Tables 4 to 7.

Stands above everything else in the package and is imported by nothing: ``python -m monai_dgm.reproduction``.
"""
