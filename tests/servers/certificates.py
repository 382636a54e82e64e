"""Certificates for servers that speak TLS in tests."""

from __future__ import annotations

from pathlib import Path

from scripts.servers import account
from scripts.servers.server import Tls


def make_tls(folder: Path) -> Tls:
    """A new authority, and a certificate of it for localhost and 127.0.0.1, readable by the servers' user alone."""
    import trustme  # takes a while, and few tests need it

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    account.make_folder(folder)
    made = Tls(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    account.write(made.authority, authority.cert_pem.bytes().decode())
    account.write(made.certificate, b"".join(pem.bytes() for pem in certificate.cert_chain_pems).decode())
    account.write(made.key, certificate.private_key_pem.bytes().decode())
    return made
