"""Worker processes: an executor whose handlers run in fresh interpreters, one a rank.

`spec` is what a site says of it and `executor` what the node's workload sees; `group` starts,
feeds and ends its processes; `main` is what runs in each of them. `frames` is what they say to
each other, `output` takes what they print, `failures` puts deaths into words, `settings` is what
each is started with. `limit` holds them to a share of the CPU, as an `allowance` says after their
`cpu_time`. Messages of the workload's members go through `relay` at the node and
`messages` in a worker, whose coroutines have a `loop`.
"""
