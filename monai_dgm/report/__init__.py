"""Self-contained HTML pages, panels and curves, made from results that are already computed.

Knows metrics and transforms only. matplotlib and Jinja2 are imported inside the functions that draw, because inference
imports this package for its colours and must start quickly.
"""
