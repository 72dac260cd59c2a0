"""Syslog daemons for tests: a bare socket that keeps the octets, and a private rsyslogd.

Neither needs root, and the system's own daemon is left alone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Self

from support.processes import Running, require_program


class BareSyslogd:
    """A datagram socket at `path`, as syslog daemons have it, read only when the test says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def received(self, most: int = 100_000) -> list[bytes]:
        """The messages that have come since the last look, `most` of them at once."""
        messages: list[bytes] = []
        try:
            while len(messages) < most:
                messages.append(self._socket.recv(65536))
        except BlockingIOError:
            pass
        return messages

    def texts(self, most: int = 100_000) -> list[str]:
        """The same without the header."""
        return [message.decode().partition("]: ")[2] for message in self.received(most)]

    def end(self) -> None:
        """End as daemons do, and take the socket away."""
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


CONFIGURATION = """\
global(workDirectory="{home}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{home}/log")
mail.* action(type="omfile" file="{home}/mail.log" template="RSYSLOG_TraditionalFileFormat")
*.*;mail.none action(type="omfile" file="{home}/others.log" template="RSYSLOG_FileFormat")
template(name="sorted" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname% %procid%\\n")
*.* action(type="omfile" file="{home}/kinds.log" template="sorted")
"""


class Rsyslogd(Running):
    """A running rsyslogd, listening on `socket`. Another one in the same `home` goes on where one ended.

    What the mail facility says goes to one file and what the others say to another, in the daemon's own two forms: with
    the traditional stamp, and with that of ISO 8601.
    """

    def __init__(self, home: Path) -> None:
        rsyslogd = require_program("rsyslogd")
        self.home = home
        self.socket = home / "log"
        configuration = home / "rsyslog.conf"
        configuration.write_text(CONFIGURATION.format(home=home))
        arguments = [rsyslogd, "-n", "-f", str(configuration), "-i", str(home / "rsyslogd.pid")]
        super().__init__(arguments, home / "rsyslogd.out", os.environ | {"LC_ALL": "C"})
        self.wait_until(self.socket.is_socket, f"the socket {self.socket}")

    def mail(self) -> list[str]:
        """The lines of the mail facility, without line ends."""
        return self._lines("mail.log")

    def others(self) -> list[str]:
        """The lines of all other facilities."""
        return self._lines("others.log")

    def kinds(self) -> list[str]:
        """For each line its facility and severity, its program and its process, as the daemon understood them."""
        return self._lines("kinds.log")

    def wait_for_mail(self, number: int) -> list[str]:
        """The lines of the mail facility, once there are so many."""
        self.wait_until(lambda: len(self.mail()) >= number, f"{number} lines of mail")
        return self.mail()

    def _lines(self, name: str) -> list[str]:
        file = self.home / name
        # Line feeds only: a form feed that came through must not look like the line end that it is not.
        return file.read_text(errors="surrogateescape").split("\n")[:-1] if file.exists() else []
