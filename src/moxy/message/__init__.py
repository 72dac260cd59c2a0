"""The message as a relay needs to know it: the trace it leaves there, and how many others have left. No I/O, no clock.

    trace       the Received: field, its date, and counting those of a message that passes by

RFC 5321 §4.4 and RFC 5322 §3.6.7; sections stand at what they govern.
"""
