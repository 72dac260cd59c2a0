"""The machine: from a configuration to a running Moxy and back to nothing.

tables      route tables and relay policy, as configured
assembly    the composition root: the one place that wires concrete classes together
privileges  from root to nobody in particular
preload     what must be in memory before privileges are dropped
worker      one event loop: start, drain, stop
start       all of it in order
"""
