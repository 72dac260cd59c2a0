"""Moxy: the front door for mail. A streaming SMTP proxy; ARCHITECTURE.md is the map."""

__version__ = "0.1.0"
