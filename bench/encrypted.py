"""The proxies that take STARTTLS, all with the same certificate, and the protocol versions from TLS 1.2 on.

Each has its defaults otherwise: session tickets, which all of them give, and OpenSSL's order of ciphers and groups.
Haraka passes each command on by its own `smtp_proxy`, so that it too answers what the destination says; it has one
process that serves, as Moxy has. To the destination nobody uses TLS.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from proxies import IS_ROOT, MOXY_COMMAND, NGINX, NGINX_COMMAND, NGINX_MAIL, Proxy

HARAKA = Path(__file__).with_name("haraka") / "node_modules/Haraka/bin/haraka"

NGINX_TLS = NGINX.replace(
    "protocol smtp;",
    """protocol smtp;
        starttls on;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate chain.pem;
        ssl_certificate_key key.pem;
    """,
)

# It does not start without these sections, which are as its own connection.ini has them.
HARAKA_CONNECTION = """
[haproxy]
hosts[] =
[headers]
max_lines=1000
max_received=100
[max]
bytes=26214400
mime_parts=1000
line_length=512
data_line_length=992
[message]
helo=Haraka is at your service.
close=closing connection. Have a jolly good day.
[uuid]
banner_chars=6
deny_chars=0
"""

HARAKA_FILES = (
    ("config/me", "proxy.test\n"),
    ("config/smtp.ini", "listen=$host:$port\nnodes=1\ninactivity_timeout=300\n"),
    ("config/connection.ini", HARAKA_CONNECTION),
    ("config/plugins", "tls\naccept_all\nqueue/smtp_proxy\n"),
    ("config/log.ini", "[main]\nlevel=crit\n"),
    ("config/smtp_proxy.ini", "host=$host\nport=$sink\nenable_outbound=false\n"),
    ("config/tls.ini", "key=key.pem\ncert=chain.pem\nminVersion=TLSv1.2\n"),
    ("plugins/accept_all.js", "'use strict'\nexports.hook_rcpt = (next) => next(OK)\n"),
)

MOXY_TLS = f"""
hostname = "proxy.test"
{'runas = "nobody"' if IS_ROOT else ""}
[listener.smtp]
listen = ["$host:$port"]
tls = "starttls"
[certificate.bench]
chain = "chain.pem"
key = "key.pem"
[routes.table]
kind = "file"
path = "moxy.db"
[log.messages]
kind = "filelog"
path = "moxy.log"
"""


def proxies(algorithm: str) -> dict[str, Proxy]:
    """Proxies with a certificate of their own; `algorithm` as `openssl req -newkey` has it."""
    key, chain = certificate(algorithm)
    pem = (("chain.pem", chain), ("key.pem", key))
    return {
        "nginx": Proxy(NGINX_COMMAND, (("nginx.conf", NGINX_TLS), *pem), "nginx libnginx-mod-mail", NGINX_MAIL),
        "haraka": Proxy(
            ("node", str(HARAKA), "-c", "."),
            (*HARAKA_FILES, *((f"config/{name}", text) for name, text in (*pem, ("dhparams.pem", dh_parameters())))),
            "npm, then (cd bench/haraka && npm install)",
            HARAKA,
        ),
        "moxy": Proxy(
            (*MOXY_COMMAND, "moxy.toml"),
            (("moxy.toml", MOXY_TLS), ("moxy.db", "destination.test $host:$sink\n"), ("moxy.log", ""), *pem),
        ),
    }


def certificate(algorithm: str) -> tuple[str, str]:
    """A key and a certificate, signed by itself, for a day."""
    kind = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256") if algorithm == "ec" else (algorithm,)
    subject = ("-subj", "/CN=proxy.test", "-addext", "subjectAltName=DNS:proxy.test")
    pem = openssl("req", "-x509", "-newkey", *kind, "-nodes", "-keyout", "-", "-days", "1", *subject)
    key, begin, chain = pem.partition("-----BEGIN CERTIFICATE-----")
    return key, begin + chain


def dh_parameters() -> str:
    """Nobody uses them here, but Haraka, if it has none, computes them while it should serve."""
    return openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")


def openssl(*arguments: str) -> str:
    return subprocess.run(("openssl", *arguments), check=True, capture_output=True, text=True).stdout
