"""SMTP as a language: what may be said, in which order, and how it looks on the wire. No I/O, no clock.

    limits      sizes of the protocol
    domain      domains and address literals, and the one spelling of each
    address     reverse-paths and forward-paths
    reply       Reply and its parser; replies: every one that Moxy itself gives
    xtext       octets in a command's parameter
    extension   EHLO keywords: what we offer, what destinations do
    parameter   the parameters of MAIL and RCPT, and their extensions
    command     one class a verb, and `parse`
    state       the order of commands, as a table
    content     the end of data, line ends, dot-stuffing
    receiver    the server's side of a session
    sender      the client's side of a session
    sasl        the client's side of AUTH

RFC 5321 and its companions; sections stand at what they govern.
"""
