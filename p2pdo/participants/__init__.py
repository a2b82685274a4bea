"""Participants: training loops that their authors own.

    definition    @p2pdo.participant and the parameters of such a function
    me            what the function is given: neighbours, rounds, mix, log, checkpoint
    trees         messages of arrays, tensors and containers as values, and back
    modules       the parameters and buffers of a torch module
    snapshots     objects as arrays and plain data, and back
    checkpoints   snapshots in the node's folder, and which of them a network can go back to
    history       what is recorded, in the node's folder
    taking_part   one node's part of a run, from its first round to its result

PyTorch and JAX are imported where their objects turn up, and never for anybody else.
"""
