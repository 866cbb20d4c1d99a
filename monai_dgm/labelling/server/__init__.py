"""Work of the label server without a web framework: studies, analysis, results, labels, checks of requests.

May import the other folders of `labelling` except `archive` and `training`, which import this one.
"""
