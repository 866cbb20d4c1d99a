"""The paper's Tables 4 to 7 on your data, in one command: ``python -m monai_dgm.reproduction``.

It trains what is missing, evaluates, and writes a report. It may import data, engines, metrics, networks and report;
nothing imports it.
"""
