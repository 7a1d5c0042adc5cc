#!/usr/bin/env python3
"""Makes the certificates of the test API server anew (pip install cryptography): valid until 2126, but for the one that expired in 2021.

The keys are for tests on loopback and protect nothing.
"""
import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = pathlib.Path(__file__).parent
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2126, 1, 1, tzinfo=datetime.timezone.utc)


def write(name, certificate, key=None):
    (HERE / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    if key:
        (HERE / f"{name}.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def subject(common_name, organization=None):
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name(parts + [x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def begun(name, key, issuer, end):
    return (x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(BEGIN).not_valid_after(end))


def authority(name):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (begun(subject(name), key, subject(name), END)
                   .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                   .sign(key, hashes.SHA256()))
    write(name, certificate)
    return name, key


def leaf(file, signer, name, alternatives=(), end=END, client=False):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = begun(name, key, subject(signer[0]), end)
    if alternatives:
        names = [x509.IPAddress(ipaddress.ip_address(a)) if a[0].isdigit() else x509.DNSName(a) for a in alternatives]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    write(file, builder.sign(signer[1], hashes.SHA256()), key)


ca, other = authority("ca"), authority("other-ca")
server = subject("kube-apiserver")
leaf("server", ca, server, ["localhost", "kubernetes.default.svc", "127.0.0.1"])
leaf("renewed", other, server, ["localhost", "kubernetes.default.svc", "127.0.0.1"])
leaf("expired", ca, server, ["localhost", "127.0.0.1"], end=datetime.datetime(2021, 1, 1, tzinfo=datetime.timezone.utc))
leaf("elsewhere", ca, server, ["kubernetes.default.svc", "192.0.2.1"])
leaf("client", ca, subject("leasehold", "observers"), client=True)
