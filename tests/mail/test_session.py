"""Session: the facts about one client connection."""

from __future__ import annotations

import pytest

from moxy.mail import Session, TlsFacts


@pytest.mark.parametrize(
    ("extended", "tls", "keyword"),
    [(False, False, "SMTP"), (False, True, "SMTP"), (True, False, "ESMTP"), (True, True, "ESMTPS")],
)
def test_the_protocol_keyword_is_that_of_rfc_3848(extended: bool, tls: bool, keyword: str) -> None:
    session = Session("id", "192.0.2.1")
    session.extended, session.tls = extended, tls
    assert session.protocol == keyword


@pytest.mark.parametrize(("tls", "keyword"), [(False, "LMTP"), (True, "LMTPS")])
def test_lmtp_has_keywords_of_its_own(tls: bool, keyword: str) -> None:
    session = Session("id", "192.0.2.1", lmtp=True)
    session.extended, session.tls = True, tls
    assert session.protocol == keyword


def test_callbacks_are_called_once_at_the_end() -> None:
    called: list[str] = []
    session = Session("id", "192.0.2.1")
    session.at_end(lambda: called.append("first"))
    session.at_end(lambda: called.append("second"))
    assert not called
    session.end()
    session.end()
    assert called == ["first", "second"]


def test_a_session_begins_without_a_name() -> None:
    session = Session("id", "192.0.2.1", 12345)
    assert (session.hello, session.extended, session.tls, session.lmtp) == ("", False, False, False)
    assert (session.client, session.client_port) == ("192.0.2.1", 12345)


def test_how_a_connection_is_encrypted_is_told_in_two_words() -> None:
    assert str(TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "CN=client")) == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert Session("id", "192.0.2.1").security is None
