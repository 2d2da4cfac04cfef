"""How fast we are, measured beside a floor and our peers: ``python -m benchmarks --help``."""
