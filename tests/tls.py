"""TLS in front of servers that have none, with certificates made for the occasion."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# What libpq sends before it speaks TLS: a length of 8 and the code of the request.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class Authority:
    """Who signs certificates; `file` is what one must have to believe them."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    file: Path

    def certificate(self, host: str) -> ssl.SSLContext:
        """What a server needs to be `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = certificate(host, key, self.name, self.key, authority=False)
        file = self.file.with_name(f"{self.file.stem}-{host}.pem")
        file.write_bytes(pem(signed) + private(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def new_authority(folder: Path, name: str) -> Authority:
    """An authority that nobody knows but who is given its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    file = folder / f"{name}.pem"
    file.write_bytes(pem(certificate(name, key, subject, key, authority=True)))
    return Authority(subject, key, file)


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    """A certificate of `key` that is good for an hour."""
    now = datetime.now(UTC)
    issuing = issuer_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def pem(signed: x509.Certificate) -> bytes:
    return signed.public_bytes(serialization.Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Terminator:
    """Speaks TLS with who calls, and passes on what is said to a server that does not."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.port = 0
        self.calls = 0
        self._context = context
        self._server_port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, started: threading.Event, ended: asyncio.Event) -> None:
        """Serve until `ended`."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The loop closes a connection in the round after it was told to.
        await asyncio.sleep(0)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # An end in good order would wait for what the other side has to say to it.
        ends = [writer.transport]
        try:
            await self._negotiate(reader, writer)
            await writer.start_tls(self._context)
            self.calls += 1
            beyond, out = await asyncio.open_connection("127.0.0.1", self._server_port)
            ends.append(out.transport)
            async with asyncio.TaskGroup() as both:
                both.create_task(copied(reader, out))
                both.create_task(copied(beyond, writer))
        except (OSError, EOFError):
            pass
        finally:
            for each in ends:
                each.abort()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Nothing: TLS begins at once."""


class PostgresTerminator(Terminator):
    """Speaks it as PostgreSQL does, which is asked first."""

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
            raise EOFError
        writer.write(b"S")
        await writer.drain()


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all of it, and then that it has ended."""
    with contextlib.suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def terminated(terminator: Terminator) -> Iterator[Terminator]:
    """`terminator`, at work in a thread."""
    started, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    work = terminator.run(started, ended)
    thread = threading.Thread(target=loop.run_until_complete, args=(work,), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield terminator
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
