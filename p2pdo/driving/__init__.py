"""Driving: a user's, or a controller's, side of a coordinator.

`client` speaks with the coordinator; `tasks` sends tasks and gives their results to whoever waits
for them, `broadcast` those of one task at several nodes; `results` is what comes back.
"""
