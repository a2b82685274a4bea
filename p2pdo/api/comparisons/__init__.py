"""Comparing algorithms: several of them, several trials each, on one problem and network.

asked       what is compared, as names or objects, and how it is written down
running     trials run in worker processes, in one folder, and go on where they stopped
trial       one trial, into its run folder: the same code in a worker and here
worker      the process that runs trials one after the other
workers     its other end
comparison  `p2pdo.compare` and what it returns
"""
