"""We are the server: from a client's octets to deliveries and back.

service       what a listener is made of: settings and the parts it works with; its open connections
connection    ClientConnection: octets, pace, deadlines
conversation  Conversation: one method a verb, each giving one reply
transaction   Transaction: one envelope, its deliveries, the held dot and the ordered commit
"""
