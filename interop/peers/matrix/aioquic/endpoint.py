"""aioquic as an endpoint of the interop runner, over its library.

The environment is that of the runner's contract: ROLE, TESTCASE, REQUESTS, SSLKEYLOGFILE, QLOGDIR;
WWW, DOWNLOADS, CERTS and PORT may stand in for the runner's folders and port. The exit status is 127
for a test case that aioquic does not have: it sets no ECN marks, and has no preferred address.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h0.connection import H0_ALPN, H0Connection
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StreamReset
from aioquic.quic.logger import QuicFileLogger
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

CASES = {
    "client": {"chacha20", "handshake", "http3", "keyupdate", "multiconnect", "resumption", "retry"}
    | {"transfer", "v2", "zerortt"},
    "server": {"chacha20", "handshake", "http3", "multiconnect", "resumption", "retry"}
    | {"transfer", "v2", "versionnegotiation", "zerortt"},
}
BOTH_VERSIONS = [QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1]
NOT_FOUND = 404
# Connections at a time, where each file has its own.
CONNECTIONS = 10

environment = os.environ.get
role, case = environment("ROLE"), environment("TESTCASE")
www, downloads, certs = (
    Path(environment(name) or default)
    for name, default in [("WWW", "/www"), ("DOWNLOADS", "/downloads"), ("CERTS", "/certs")]
)


def configuration():
    config = QuicConfiguration(
        is_client=role == "client", alpn_protocols=H3_ALPN if case == "http3" else H0_ALPN
    )
    if name := environment("SSLKEYLOGFILE"):
        config.secrets_log_file = open(name, "a", buffering=1)
    if name := environment("QLOGDIR"):
        os.makedirs(name, exist_ok=True)
        config.quic_logger = QuicFileLogger(name)
    if case == "chacha20":
        config.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    if case == "v2":
        config.supported_versions = BOTH_VERSIONS
        config.original_version = QuicProtocolVersion.VERSION_1
    elif role == "client":
        config.supported_versions = [QuicProtocolVersion.VERSION_1]
    if case == "multiconnect":
        config.idle_timeout = 240.0
    return config


class Endpoint(QuicConnectionProtocol):
    """A connection with either protocol, which is there before the streams of the peer are."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        if self._quic.configuration.is_client:
            self.choose(self._quic.configuration.alpn_protocols[0])

    def choose(self, alpn):
        self.http = (H3Connection if alpn in H3_ALPN else H0Connection)(self._quic)

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated) and self.http is None:
            self.choose(event.alpn_protocol)
        if isinstance(event, ConnectionTerminated):
            self.lost(f"connection closed: {event.error_code:#x} {event.reason_phrase}")
        elif isinstance(event, StreamReset):
            self.reset(event.stream_id, f"stream reset: {event.error_code:#x}")
        if self.http is not None:
            for http_event in self.http.handle_event(event):
                self.http_event_received(http_event)

    def lost(self, why):
        pass

    def reset(self, stream_id, why):
        pass


# ---------------------------------------------------------------------------------------- the client


class Client(Endpoint):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.exchanges = {}

    def begin(self, url):
        """Sends a request, and returns the future of its end."""
        parts = urlsplit(url)
        stream_id = self._quic.get_next_available_stream_id()
        done = asyncio.get_running_loop().create_future()
        self.exchanges[stream_id] = (downloads / parts.path.rsplit("/", 1)[-1], bytearray(), done)
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", parts.netloc)]
        headers.append((":path", parts.path))
        fields = [(name.encode(), value.encode()) for name, value in headers]
        self.http.send_headers(stream_id, fields, end_stream=True)
        return done

    def http_event_received(self, event):
        exchange = self.exchanges.get(getattr(event, "stream_id", None))
        if exchange is None:
            return
        file, body, done = exchange
        if isinstance(event, HeadersReceived):
            status = dict(event.headers).get(b":status", b"200")
            if status != b"200":
                self.reset(event.stream_id, f"{file.name}: status {status.decode()}")
        elif isinstance(event, DataReceived):
            body += event.data
        if event.stream_ended and not done.done():
            file.write_bytes(body)
            body.clear()
            done.set_result(None)

    def reset(self, stream_id, why):
        _, _, done = self.exchanges.get(stream_id, (None, None, None))
        if done and not done.done():
            done.set_exception(ConnectionError(why))

    def lost(self, why):
        for stream_id in self.exchanges:
            self.reset(stream_id, why)


async def fetch(urls, config, tickets=None, early=False):
    """All URLs at once, over one connection."""
    server = urlsplit(urls[0])
    async with connect(
        server.hostname,
        server.port or 443,
        configuration=config,
        create_protocol=Client,
        session_ticket_handler=tickets.put_nowait if tickets else None,
        wait_connected=not early,
    ) as client:
        if case == "keyupdate":
            await client.ping()
            client.request_key_update()
        exchanges = [client.begin(url) for url in urls]
        client.transmit()
        await asyncio.gather(*exchanges)
        return await asyncio.wait_for(tickets.get(), 10) if tickets else None


async def run_client():
    urls = environment("REQUESTS", "").split()

    def config(**more):
        made = configuration()
        made.load_verify_locations(str(certs / "ca.pem"))
        for name, value in more.items():
            setattr(made, name, value)
        return made

    if case == "multiconnect":
        permits = asyncio.Semaphore(CONNECTIONS)

        async def one(url):
            async with permits:
                await fetch([url], config())

        await asyncio.gather(*(one(url) for url in urls))
    elif case in ("resumption", "zerortt"):
        ticket = await fetch(urls[:1], config(), asyncio.Queue())
        await fetch(urls[1:], config(session_ticket=ticket), early=case == "zerortt")
    else:
        await fetch(urls, config())


# ---------------------------------------------------------------------------------------- the server


class Server(Endpoint):
    def http_event_received(self, event):
        if not isinstance(event, HeadersReceived):
            return
        path = dict(event.headers)[b":path"].decode()
        file = www / path.lstrip("/")
        found = ".." not in path and file.is_file()
        if isinstance(self.http, H3Connection):
            status = b"200" if found else b"404"
            self.http.send_headers(event.stream_id, [(b":status", status)])
        if found or isinstance(self.http, H3Connection):
            body = file.read_bytes() if found else b""
            self.http.send_data(event.stream_id, body, end_stream=True)
        else:
            self._quic.reset_stream(event.stream_id, NOT_FOUND)
        self.transmit()


async def run_server():
    config = configuration()
    config.load_cert_chain(certs / "cert.pem", certs / "priv.key")
    port = int(environment("PORT") or 443)
    # Of which each is good for one connection.
    tickets = {}
    server = await serve(
        "::",
        port,
        configuration=config,
        create_protocol=Server,
        retry=case == "retry",
        session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
        session_ticket_fetcher=lambda label: tickets.pop(label, None),
    )
    print(f"listening on [::]:{port}", file=sys.stderr, flush=True)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    # Connections that damaged packets began, and that nobody knows of: to say goodbye to them would
    # look like one more handshake.
    for name, protocol in list(server._protocols.items()):
        if not protocol._quic._handshake_complete:
            del server._protocols[name]
    server.close()
    # For the last packets, and the qlog files, which are written at the end of their connections.
    await asyncio.sleep(0.3)


if case not in CASES.get(role, ()):
    sys.exit(127)
try:
    asyncio.run(run_client() if role == "client" else run_server())
except (ConnectionError, OSError, asyncio.TimeoutError) as error:
    sys.exit(f"aioquic: {type(error).__name__}: {error}")
