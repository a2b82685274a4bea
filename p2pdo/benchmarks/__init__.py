"""How fast p2pdo is, measured through what its users call.

    windows      one run: warmed up, then looked at between two observed iterations
    ring         node processes of this machine in a ring
    simulate     nodes of one process
    stacked      very many nodes as arrays, against NumPy and SciPy by hand
    router       the Lead Client, against routers written by hand
    processes    CPU time and memory of the processes of a run

Every figure is a median with the least and the greatest of its runs, and contenders take turns:
a machine's speed drifts, and what is compared has to have seen the same of it. CPU time is the
steadier figure, because processes share the cores with whatever else runs.
"""
