"""We are the server: from a client's octets to deliveries and back.

service       what a listener is made of: settings and the parts it works with; its open connections
proxied       a connection from a proxy, until its PROXY header has come
connection    ClientConnection: octets and deadlines; tlsconnection, the same where there is TLS
pace          Pace: how fast content comes, and how long it may take
answering     a verb on the way to its reply
arrival       who the client is: by its connection, and as a trusted proxy says
conversation  Conversation: one method a verb, each giving one reply
transaction   Transaction: one envelope, its recipients, the content as it comes, and the held dot
recipients    whom it is for: who is asked, in which order, and which share a delivery
leg, copies   a delivery of it, and what became of it; deliveries that nobody depends on
conclusion    from the client's dot to what it is told
commit, order the dots, and who is asked first
memory        what it asks of the acceptance ledger, and leaves there
account       what it tells the accounting
"""
