"""Certificates made for one test run, and the listeners of a broker that show theirs: one asks for a password, one for a
certificate."""
import subprocess

from .process import temporary_folder


def openssl(*words, folder):
    done = subprocess.run(["openssl", *map(str, words)], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}")


class Authority:
    """A certificate authority with its certificates, each a PEM file beside its key."""

    def __init__(self, name="authority", folder=None):
        self.folder = folder or temporary_folder("certificates")
        self.name = name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", folder=self.folder)
        self.certificate = self.folder / f"{name}.pem"

    def issue(self, name, alternatives=""):
        """(certificate, key) of `name`; `alternatives` as in DNS:localhost,IP:127.0.0.1."""
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=self.folder)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName = {alternatives}\n" if alternatives else "basicConstraints = CA:FALSE\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key", "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", f"{name}.pem", folder=self.folder)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def lock(self, key, password):
        """The same key, of no use without a password."""
        openssl("pkcs8", "-topk8", "-in", key, "-passout", f"pass:{password}", "-out", f"{key}.locked", folder=self.folder)
        locked = key.with_name(key.name + ".locked")
        locked.chmod(0o600)
        return locked


def flags(settings):
    """Settings of librdkafka as once-relay takes them."""
    return [word for name, value in settings.items() for word in ("--set", f"kafka.{name}={value}")]


class Security:
    """What a Kafka cluster with a SECURED listener needs. Clients of its PLAINTEXT listener are super users: the tests'
    own tools. A client of the other one has the rights that ACLs give to User:<name>."""

    # librdkafka before 2.6.1 cannot log in by SCRAM to Kafka 4: what is asked of the relay is asked by PLAIN, over TLS.
    SCRAM = "SCRAM-SHA-512"

    def __init__(self, **passwords):
        self.passwords = passwords
        self.authority = Authority()
        certificate, key = self.authority.issue("broker", "DNS:localhost")  # and not IP:127.0.0.1: the wrong name
        # Kafka reads PEM only in PKCS#8, key and certificate in one file.
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-out", "broker.p8", folder=self.authority.folder)
        self.key_store = self.authority.folder / "broker.store.pem"
        self.key_store.write_text((self.authority.folder / "broker.p8").read_text() + certificate.read_text())

    def broker_settings(self):
        return {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS", "sasl.enabled.mechanisms": f"PLAIN,{self.SCRAM}",
            **{f"listener.name.{listener}.ssl.keystore.{name}": value for listener in ("secured", "mutual")
               for name, value in (("type", "PEM"), ("location", self.key_store))},
            "listener.name.mutual.ssl.client.auth": "required", "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": self.authority.certificate,
            f"listener.name.secured.{self.SCRAM.lower()}.sasl.jaas.config":
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "listener.name.secured.plain.sasl.jaas.config":
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                + " ".join(f'user_{name}="{password}"' for name, password in self.passwords.items()) + ";",
        }

    def format_words(self):
        return [word for name, password in self.passwords.items()
                for word in ("--add-scram", f"{self.SCRAM}=[name={name},password={password}]")]

    def client_settings(self, user, *, authority=None, mechanism="PLAIN"):
        """As flags of once-relay; the password goes by the environment, see client_environment."""
        settings = {"security.protocol": "sasl_ssl", "sasl.mechanism": mechanism, "sasl.username": user,
                    "ssl.ca.location": (authority or self.authority).certificate, "broker.address.family": "v4"}
        return flags(settings)

    def certified_settings(self, certificate=None, key=None):
        """For the MUTUAL listener: who a client is, its certificate says, User:CN=<name>."""
        settings = {"security.protocol": "ssl", "ssl.ca.location": self.authority.certificate, "broker.address.family": "v4",
                    **({"ssl.certificate.location": certificate, "ssl.key.location": key} if certificate else {})}
        return flags(settings)

    def client_environment(self, user, password=None):
        return {"ONCE_KAFKA_SASL_PASSWORD": password or self.passwords[user]}


class NamedClients:
    """A cluster whose PROXIED listener asks for a name and a password, in clear text: a Proxy can still read along. Who
    comes that way may do everything until a right is denied; brokers and tests use the other listener and are super users."""

    USER, PASSWORD = "relay", "relay-s3cret"

    BROKER = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS", "allow.everyone.if.no.acl.found": "true", "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.proxied.plain.sasl.jaas.config":
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    }
    CLIENT = ["--set", "kafka.security.protocol=sasl_plaintext", "--set", "kafka.sasl.mechanism=PLAIN",
              "--set", f"kafka.sasl.username={USER}"]
    ENVIRONMENT = {"ONCE_KAFKA_SASL_PASSWORD": PASSWORD}
