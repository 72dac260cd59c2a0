"""The ground: what touches the system. Listening sockets, deadlines, and the steps of a coroutine.

Connections themselves are `inbound.connection` and `outbound.upstream`; nothing else in Moxy holds a transport.
"""
