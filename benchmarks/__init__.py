"""How fast we are, measured beside a baseline and our peers: ``python -m benchmarks --help``."""
