"""We are the client: from a route to the mail server behind it.

directory    Directory: the destinations behind a route, and the pools they share
destination  SmtpDestination: candidates in order, leases
settings     Settings: how its hosts are spoken with; identity: how they hear of the client
profile      Profile: what its hosts offer, and what clients are offered because of it
prober       Prober: asks them before there is mail
pool         Pool: the connections to one host, few and proved alive
connect      how a connection comes about: addresses, TCP or a Unix socket
introduction how it begins: greeting, EHLO or LHLO, and the next three
encryption   STARTTLS, and what is done where it fails
authentication AUTH: the exchange
handover     what it says of the client: XCLIENT and others
ground       Ground: what all connections need to know
upstream     Upstream: one connection, its octets, replies and deadlines
relay        RelayDelivery: one transaction over one connection
forwarding   the same with XFORWARD
anonymous    the same without a word of the client
parameters   MAIL and RCPT as a destination understands them, and what is due where it lacks an extension
verdicts     Verdicts: the answers to one dot, where each recipient gets its own (LMTP, PRDR)
bounds       how many recipients a destination takes (LIMITS)
hiding       what of a destination's replies must not reach a client
"""
