"""Certificates as a cluster has them: authorities, servers, front proxies; good ones and others."""
import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USES = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}


def name(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])


def replace(path, data):
    """As who rotates certificates does: nobody sees half of it."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


class Authority:
    def __init__(self, common="front-proxy-ca", parent=None):
        # As kubeadm makes them.
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.common, self.parent = common, parent
        issuer = parent or self
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder().subject_name(name(common)).issuer_name(name(issuer.common)).public_key(self.key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, True, False, False, True, False, False, False), critical=True)
            .sign(issuer.key, hashes.SHA256()))

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common, uses=("client",), addresses=(), ends=1.0, begins=-1.0, critical=False):
        """Certificate (with the chain below the root) and key, both PEM; ends and begins in days from now."""
        import ipaddress
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(name(common)).issuer_name(name(self.common)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now + datetime.timedelta(days=begins))
            .not_valid_after(now + datetime.timedelta(days=ends)).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True))
        if uses:
            builder = builder.add_extension(x509.ExtendedKeyUsage([USES[use] for use in uses]), critical=critical)
        if addresses:
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(a)) if a[0].isdigit() else x509.DNSName(a) for a in addresses]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        if self.parent:
            certificate += self.pem
        return certificate, key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
