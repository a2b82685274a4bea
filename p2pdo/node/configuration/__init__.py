"""A node's configuration: `p2pdo.toml`.

`models` says what may stand in it, `reading` reads it and tells what is wrong and where,
`settings`, `building` and `offering` make of it what a node runs with, `showing` shows it,
`nvflare` makes one out of a file of NVFlare's.
"""
