"""MedAI beside its peers, in one run: `make bench`, or `python -m benchmarks --help` with Testing on the path.

Every measured piece runs in a process of its own (`child`), the peers in an environment of their own (`peers`); the
sections (`sliding_window`, `export`, `end_to_end`, `scene`, `growth`) compose tables; `report` writes them.
`worker_latency` and `seg_panel_loop` have no peer: they are scripts of their own, run by name.
"""
