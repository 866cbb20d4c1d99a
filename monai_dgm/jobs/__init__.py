"""Resumable jobs: commands of the bundles, each in a process of its own, with a record of what came out.

The reproduction and the benchmark plan jobs; what is here runs those that are missing. May import data.
"""
