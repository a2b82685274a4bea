"""Driving: a user's, or a controller's, side of a coordinator.

client         speaks with the coordinator; `patience` while it is away
tasks          a driver: sends tasks and gives their results to whoever waits for them
submitting     has a workload made, once, whatever becomes of the reply
sending        what is sent, and `members`, to whom
waiting        who waits for which task
results        what comes back; `broadcast` of one task at several nodes
acknowledging  tells the coordinator what it need not keep
attaching      a driver of what another has begun
controllers    drivers inside the coordinator; `controlling` has one at work
"""
