"""The command line: `p2pdo VERB`. One file per group of verbs, and no logic in any of them.

A verb gathers what was asked, calls `api` or `reporting`, and returns a `Reply`: its data and how
a person sees them. `program` does the rest for all verbs alike: the envelope of `--json`, errors,
exit codes, signals. A verb's module is imported when it is called, and heavy packages when they
are used, so that help is there at once.
"""

from p2pdo.cli.program import Place, Program

main = Program(
    "p2pdo",
    {
        "run": Place("run", "Run an algorithm on this machine, to the end."),
        "compare": Place("compare", "Compare runs: tables, figures, data."),
        "submit": Place("submit", "Send a run to the nodes of a coordinator."),
        "ls": Place("workloads", "List a coordinator's workloads."),
        "show": Place("workloads", "Show one workload and how far each node is."),
        "watch": Place("workloads", "Follow a workload to its end."),
        "stop": Place("workloads", "Stop a workload."),
        "results": Place("workloads", "Write a finished workload's run folder."),
        "nodes": Place("nodes", "List a coordinator's nodes."),
        "plan": Place("plan", "Tell what a run would do, before it runs."),
        "topo": Place("topo", "Tell what a topology is worth before running on it."),
        "plot": Place("plot", "Draw a run folder's pictures."),
        "bench": Place("bench", "Measure how fast it is on this machine."),
        "new": Place("new", "Start a project from a template."),
        "config": Place("configuration", "Look at a node's configuration."),
        "algorithms": Place("catalogues", "List the algorithms, or show one."),
        "problems": Place("catalogues", "List the problems and their parameters."),
    },
)

__all__ = ["main"]
