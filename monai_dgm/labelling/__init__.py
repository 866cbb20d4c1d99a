"""What a labelling server does with a request, without the server: checked names, studies, models, results, labels.

`apps` wire these functions to MONAI Label. May import everything but handlers.
"""
