"""The sandbox's certificate authority."""

import datetime
import hashlib
import ipaddress
import os
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A CA in `home`/ca.pem (key: ca.key, 0600) that outlives the daemon: clients need to trust it only once."""

    def __init__(self, home: Path):
        self.home = home
        self.ca_path = home / "ca.pem"
        self._lock = threading.Lock()
        key_path = home / "ca.key"
        if not (self.ca_path.exists() and key_path.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nexus-learn sandbox CA")])
            usage = _key_usage(key_cert_sign=True, crl_sign=True)
            builder = _builder(name, name, key, key, days=3650)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            _write_key(key_path, key)
            _write(self.ca_path, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()))
        self._key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        self._ca = x509.load_pem_x509_certificate(self.ca_path.read_bytes())

    def certificate(self, names=()) -> tuple[Path, Path]:
        """(certificate chain, key) files for `names` (DNS names, IP addresses), 127.0.0.1 and localhost."""
        names = sorted({"127.0.0.1", "localhost", *names})
        folder = self.home / "certificates"
        stem = hashlib.sha256(" ".join([str(self._ca.serial_number), *names]).encode()).hexdigest()[:16]
        cert_path, key_path = folder / f"{stem}.pem", folder / f"{stem}.key"
        with self._lock:
            if not cert_path.exists():
                folder.mkdir(exist_ok=True)
                key = ec.generate_private_key(ec.SECP256R1())
                subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nexus-learn sandbox")])
                builder = _builder(subject, self._ca.subject, key, self._key, days=825)
                for extension, critical in (
                    (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
                    (x509.BasicConstraints(ca=False, path_length=None), True),
                    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                    (_key_usage(digital_signature=True), True),
                ):
                    builder = builder.add_extension(extension, critical=critical)
                _write_key(key_path, key)
                _write(cert_path, builder.sign(self._key, hashes.SHA256()), self._ca)
        return cert_path, key_path


def _builder(subject, issuer, key, issuer_key, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
    )


def _key_usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{**dict.fromkeys(names.split(), False), **on})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, *certificates: x509.Certificate) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))
    partial.replace(path)


def _write_key(path: Path, key) -> None:
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
