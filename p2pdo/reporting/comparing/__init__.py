"""Comparing runs: what trials of several algorithms came to, side by side.

    folder      the folder of a comparison: a manifest, and a run folder a trial
    trials      a trial as its run folder tells it, and trials of one kind together
    figures     means and spreads over trials, and what it took to a tolerance
    tables      on a terminal          latex     in a paper
    tidy        one row an observation: CSV, Parquet, data frames
    curves      lines with bands       pictures  publication-quality figures of them
    progress    how far the trials are

A trial that failed or diverged is told as such with its reason, and is in no mean and no line.
"""
