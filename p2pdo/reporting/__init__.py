"""Reporting. What a run leaves for people: a folder, tables, pictures and a line while it lasts.

    records     the figures of a run, as plain values
    run_folder  settings, metrics, events, states and the summary on disk
    digests     one hash that says whether two runs ended in the same bits
    formats     figures as people write them
    tables      aligned text; colour on a terminal only
    progress    one line while the run lasts
    plots       convergence, pace and topology as pictures

Nothing here decides anything about a run, and importing it costs nothing: rich and matplotlib
are loaded by the function that draws with them.
"""
