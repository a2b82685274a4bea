"""Looking up what a `Request` names, and checking that it fits the rest.

problems    a problem per node, from the catalogue, a file or the user's hands
held_out    samples that no node has, for accuracy
algorithms  the algorithm's class, and itself with a step size that fits problems and weights
networks    the graph, and weights on it that the algorithm's class takes
starts      where each node begins
plans       all of it in one plan, with what is asked of losses, stopping, codecs and monitors

`api.jobs.resolve` puts them together.
"""
