"""The ground: what touches the system. Listening sockets, names, deadlines, the steps of a coroutine, syslog.

Connections themselves are `inbound.connection` and `outbound.upstream`; nothing else in Moxy holds a transport.
"""
