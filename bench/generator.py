"""Send messages as a mail server does that can STARTTLS and BDAT, which Postfix's smtp-source cannot.

Why: a proxy's cost for TLS shows only when clients open it, and its cost for BDAT only when they say it. Each client is
a process with a blocking socket that waits for every reply: nothing here can be in another client's way.

Rules: every reply has the code that is due, or the run fails; TLS has the version that was asked for, and what each
connection agreed on is counted. Certificates are not verified: what is measured is the other side.

Printed is one JSON object, from an agreement such as "TLSv1.3 TLS_AES_256_GCM_SHA384 resumed" to how many messages went
over connections of that kind.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import ssl
import sys
from collections import Counter

PATIENCE = 60.0  # seconds for one reply
LINE = b"X" * 76 + b"\r\n"
HEADER = b"From: <a@client.test>\r\nTo: <b@destination.test>\r\nSubject: bench\r\n\r\n"
CIPHERS_1_2 = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_context(version: str) -> ssl.SSLContext:
    """This version and no other. For TLS 1.3 OpenSSL's first cipher is the one that is named for 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context.set_ciphers(CIPHERS_1_2)
    return context


def expect(connection: socket.socket, code: bytes) -> None:
    """Read one reply, of however many lines."""
    reply = b""
    while not reply.endswith(b"\n") or reply.splitlines()[-1][3:4] == b"-":
        block = connection.recv(4096)
        if not block:
            raise ConnectionError(f"closed after {reply!r}, due was {code!r}")
        reply += block
    if not reply.startswith(code):
        raise ConnectionError(f"{reply!r}, due was {code!r}")


def say(connection: socket.socket, octets: bytes, code: bytes = b"250") -> None:
    connection.sendall(octets)
    expect(connection, code)


def connect(port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None) -> socket.socket:
    """Go as far as a client can without a transaction."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    expect(connection, b"220")
    say(connection, b"EHLO client.test\r\n")
    if context:
        say(connection, b"STARTTLS\r\n", b"220")
        connection = context.wrap_socket(connection, session=session)
        say(connection, b"EHLO client.test\r\n")
    return connection


def agreement(connection: socket.socket) -> str:
    if not isinstance(connection, ssl.SSLSocket):
        return "plain"
    cipher = connection.cipher() or ("none",)
    return f"{connection.version()} {cipher[0]}{' resumed' if connection.session_reused else ''}"


def chunks(content: bytes, size: int) -> list[bytes]:
    """BDAT commands, each with its octets, of which there are at most `size`; 0 is no bound (RFC 3030 §2)."""
    size = size or len(content)
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    heads = [b"BDAT %d\r\n" % len(part) for part in parts[:-1]] + [b"BDAT %d LAST\r\n" % len(parts[-1])]
    return [head + part for head, part in zip(heads, parts, strict=True)]


def transaction(connection: socket.socket, content: bytes, bdat: list[bytes]) -> None:
    say(connection, b"MAIL FROM:<a@client.test>\r\n")
    say(connection, b"RCPT TO:<b@destination.test>\r\n")
    if not bdat:
        say(connection, b"DATA\r\n", b"354")
        say(connection, content + b".\r\n")
    for chunk in bdat:
        say(connection, chunk)


def client(options: argparse.Namespace, messages: int, results: multiprocessing.SimpleQueue[Counter[str]]) -> None:
    """One client's messages, each over a connection of its own; results in what its connections agreed on."""
    content = HEADER + LINE * max(1, (options.size - len(HEADER)) // len(LINE))
    bdat = chunks(content, options.chunk) if options.bdat else []
    context = client_context(options.tls) if options.tls else None
    session = None
    agreements: Counter[str] = Counter()
    for _ in range(messages):
        with connect(options.port, context, session) as connection:
            transaction(connection, content, bdat)
            agreements[agreement(connection)] += 1
            say(connection, b"QUIT\r\n", b"221")
            if options.resume and isinstance(connection, ssl.SSLSocket):
                session = connection.session  # each connection brings a new ticket (RFC 8446 appendix C.4)
            while connection.recv(4096):
                """The server closes first, as RFC 5321 §4.1.1.10 has it."""
    results.put(agreements)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, help="on loopback")
    parser.add_argument("--clients", type=int, default=20, help="at once")
    parser.add_argument("--messages", type=int, default=1000, help="of all clients together")
    parser.add_argument("--size", type=int, default=1 << 10, help="octets of a message")
    parser.add_argument("--tls", choices=VERSIONS, help="STARTTLS with this version")
    parser.add_argument("--resume", action="store_true", help="resume the TLS session of the connection before")
    parser.add_argument("--bdat", action="store_true", help="BDAT instead of DATA")
    parser.add_argument("--chunk", type=int, default=0, help="octets of a chunk of BDAT; 0: the message is one")
    options = parser.parse_args()
    each, rest = divmod(options.messages, options.clients)
    fork = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[Counter[str]] = fork.SimpleQueue()
    shares = [each + (number < rest) for number in range(options.clients)]
    clients = [fork.Process(target=client, args=(options, share, results)) for share in shares if share]
    for process in clients:
        process.start()
    for process in clients:
        process.join()
    if any(process.exitcode for process in clients):
        return 1  # the client has told why
    print(json.dumps(sum((results.get() for _ in clients), Counter())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
