"""Subcommands of ``monai-dgm``. A file ``NAME.py`` with a function ``NAME`` is one: :mod:`monai_dgm.cli.app` finds it.

The function's docstring is its help, its annotated arguments are its options (Typer), and it returns an exit status or
None for 0. It raises :class:`monai_dgm.errors.InputError` where something cannot be used, which ends with status 1, and
:class:`monai_dgm.errors.UsageError` where it was called wrongly, which ends with status 2.
"""
