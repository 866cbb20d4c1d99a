"""The command ``monai-dgm``: subcommands in :mod:`.commands`, one a file, over the same functions as the bundles.

May import every other part. Its modules are light: what a subcommand needs is imported when it runs.
"""
