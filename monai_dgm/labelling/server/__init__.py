"""What the server does with a request, without the web framework: studies, analysis, results, label files, checks.

May import everything but `labelling.archive` and `labelling.training`, which build on it.
"""
