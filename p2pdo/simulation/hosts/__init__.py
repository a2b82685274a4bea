"""Hosts in one event loop: the daemons themselves, in virtual time, with seeded faults.

Coordinator, nodes and drivers are the very classes that run as processes; what they have of their
machine comes by their `Host` (`transports.host`), and here that is a simulated one.

    loop         time that jumps, threads that answer in seeded time, sets of tasks in one order
    network      what is on its way between hosts: delays, losses, cuts, partitions, and the trace
    calls        gRPC's calls over that network: channels, servers and what both ends see
    machine      a host: its threads, its disk, its chance; it can be killed at any moment
    deployment   a coordinator and its nodes, each a process that can be killed and started again

One seed is one order of events, whatever the hash seed and wherever things lie in memory.

Not here: processes of a node's own (workers), participants, which block threads of theirs, and
memory that processes share (`lane="grpc"`).
"""
