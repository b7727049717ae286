"""How fast the service is, against what its parts can do alone: `python -m bench.speed`."""
