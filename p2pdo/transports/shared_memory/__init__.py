"""The lane between processes of one host: values are read where their sender wrote them.

futex.py     waiting for a word in shared memory, and waking whoever waits
segment.py   one node's values of one workload, as its neighbours see them
lane.py      the exchange over segments, on the workload's own thread
"""
