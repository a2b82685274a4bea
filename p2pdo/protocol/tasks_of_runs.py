"""What a run asks of its nodes, by name: coordinator and nodes say the same words."""

EXECUTOR = "optimization"  # handles both of these at the nodes
CONFIG = "config"
RUN = "run_algorithm"
PARTICIPANT_EXECUTOR = "participant"  # handles CONFIG and this one:
RUN_PARTICIPANT = "run_participant"
