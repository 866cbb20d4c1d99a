"""All residue systems on one benchmark with known truth: ``python -m monai_dgm.benchmark``.

It trains what is missing under one budget, runs every system over the same test images, and writes a report. It may
import data, engines, jobs, metrics, networks, report, reproduction and transforms; nothing imports it.
"""
