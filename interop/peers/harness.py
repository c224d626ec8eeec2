"""What `run` and `decode` share: the programs, a throwaway site, and processes under a deadline."""

import hashlib
import os
import random
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PEERS_DIR = Path(os.environ.get("PEERS_DIR", ROOT / "target" / "peers")).resolve()

SERVER_START_SECONDS = 15


class Failure(Exception):
    """What went wrong, in one line for the person who reads the table."""


@dataclass
class Program:
    """Something with the command line of `interop`: our own program, or a peer's adapter.

    `cannot` tells, for each column it cannot serve, the reason; `serve_options` are for its server.
    """

    name: str
    serve: list | None = None
    get: list | None = None
    cannot: dict = field(default_factory=dict)
    serve_options: list = field(default_factory=list)


def our_program():
    """Our own program; OURS_SERVER and OURS_CLIENT put other commands in its place."""
    server, client = os.environ.get("OURS_SERVER"), os.environ.get("OURS_CLIENT")
    if not (server and client):
        build = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "interop"]
        subprocess.run(build, cwd=ROOT, check=True)
    binary = str(TARGET / "release" / "interop")
    return Program("ours", shlex.split(server or binary), shlex.split(client or binary))


def environment(**more):
    return os.environ | {"PEERS_DIR": str(PEERS_DIR)} | {k: str(v) for k, v in more.items()}


class Site:
    """The folder that servers serve, and the certificate they show."""

    SIZES = {"empty": 0, "one-byte": 1, "100k": 100_000, "10m": 10 << 20}
    MANY = 20
    MANY_BYTES = 50_000

    def __init__(self, folder):
        self.www = folder / "www"
        self.www.mkdir(parents=True)
        self.body = folder / "body"
        self.certificates(folder)
        # The same bytes in each run; nothing in them repeats, so that no two mix-ups look alike.
        source = random.Random(0)
        self.sha256 = {}
        sizes = self.SIZES | {name: self.MANY_BYTES for name in self.many()}
        for name, size in sizes.items():
            self.sha256[name] = write_random(self.www / name, size, source)
        self.body_sha256 = write_random(self.body, 1 << 20, source)

    def many(self):
        return [f"stream-{index:02}" for index in range(self.MANY)]

    def size(self, name):
        return (self.www / name).stat().st_size

    def certificates(self, folder):
        """A certificate authority that lives for this run, and a leaf for the loopback addresses."""
        self.ca, self.chain, self.key = folder / "ca.pem", folder / "chain.pem", folder / "leaf.key"
        ca_key, leaf = folder / "ca.key", folder / "leaf.pem"
        new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        new += ["-nodes", "-sha256", "-days", "10"]
        openssl(
            *new, "-keyout", ca_key, "-out", self.ca, "-subj", "/CN=Interop test authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        openssl(
            *new, "-keyout", self.key, "-out", leaf, "-subj", "/CN=localhost",
            "-CA", self.ca, "-CAkey", ca_key,
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature",
            "-addext", "extendedKeyUsage=serverAuth",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
        )  # fmt: skip
        self.chain.write_bytes(leaf.read_bytes() + self.ca.read_bytes())


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def write_random(file, size, source):
    content = source.randbytes(size)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


class Server:
    """A running server; leaving its `with` block ends it, and waits until it has ended."""

    def __init__(self, program, site, log, seconds, **variables):
        self.log = log
        command = ["timeout", "--kill-after=2", str(seconds), *program.serve, "serve", site.www]
        command += ["--listen", "127.0.0.1:0", "--cert", site.chain, "--key", site.key, "--echo"]
        command += program.serve_options
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(**variables),
            )

    def __enter__(self):
        try:
            self.address = self.wait_for_address()
        except Failure:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def wait_for_address(self):
        deadline = time.monotonic() + SERVER_START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace").splitlines():
                if line.startswith("listening on "):
                    return line.split()[2]
            self.check_alive()
            time.sleep(0.02)
        raise Failure(f"the server does not tell its address: {self.log}")

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"the server ended ({self.process.returncode}): {self.log}")
        if "panicked at" in self.log.read_text(errors="replace"):
            raise Failure(f"the server panicked: {self.log}")

    def end(self):
        # `timeout` hands the signal on, and kills what does not follow it.
        self.process.terminate()
        self.process.wait()


def fetch(program, address, site, paths, log, seconds, options=(), **variables):
    """Runs a client; returns {path: (status, bytes, sha256)} of the responses it reports."""
    urls = [f"https://{address}/{path}" for path in paths]
    command = ["timeout", "--kill-after=2", str(seconds), *program.get, "get", *urls]
    command += ["--cacert", site.ca, *options]
    with open(log, "wb") as errors:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(**variables),
        )
    with open(log, "ab") as everything:
        everything.write(result.stdout)
    if result.returncode == 124 or result.returncode == 137:
        raise Failure(f"the client took more than {seconds} s: {log}")
    if result.returncode != 0:
        raise Failure(f"the client failed ({result.returncode}): {log}")
    return responses(result.stdout.decode(errors="replace"), urls, log)


def responses(output, urls, log):
    found = {}
    for line in output.splitlines():
        fields = line.split()
        if len(fields) != 4 or fields[3] not in urls or fields[3] in found:
            raise Failure(f"unexpected line '{line[:100]}': {log}")
        found[fields[3]] = (int(fields[0]), int(fields[1]), fields[2])
    missing = len(urls) - len(found)
    if missing:
        raise Failure(f"{missing} of {len(urls)} responses are not reported: {log}")
    return {url.rsplit("/", 1)[1]: response for url, response in found.items()}
