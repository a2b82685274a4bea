"""What simulated links and nodes do: small models, each a frozen dataclass that draws.

    delay          how long a frame is on its way: constant, exponential, lognormal, measured
    weather        one link: its delay and bandwidth, what it loses, repeats, reorders, its cuts
    compute        how long a node computes an iteration, and who is slow
    silences       when a node is frozen and when groups of nodes cannot hear each other
    conditions     all of them for one run
    reading        `links.toml`, where all of it can be written down

A model holds no state and no generator: it is given one, so that each link and each node draws a
stream of its own, and what happens on one link changes nothing on another. Times are in seconds,
of the simulation's clock; bandwidth is in bytes a second.
"""
