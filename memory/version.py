"""Which version of the service this is."""

from importlib.metadata import version

# Read once: to look it up takes half a millisecond.
VERSION = version("ai-memory-layer")
