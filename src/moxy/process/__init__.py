"""The machine: from a configuration to a running Moxy and back to nothing.

tables      route tables and relay policy, as configured
logs        logs, as configured
outbound    how destinations are spoken with, and what is learned of them, as configured
assembly    the composition root: the one place that wires concrete classes together
descriptors as many file descriptors as can be had
privileges  from root to nobody in particular
preload     what must be in memory before privileges are dropped
serving     a service on its sockets: accept, drain
worker      one event loop: start, drain, stop
listeners   the listening sockets, from one configuration to the next
supervisor  the parent of the workers: starts and replaces them, reloads, stops
daemon      into the background, and the pid file
notify      telling the service manager
start       all of it in order
"""
