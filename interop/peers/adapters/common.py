"""What the adapters share: the command line of the project's own program, and how to report.

An adapter lets a foreign program stand where `interop` could stand:

    serve DIR --listen ADDRESS --cert FILE --key FILE [--echo] [--retry]
        prints `listening on ADDRESS` once it answers, and serves until it is ended; with --retry
        clients must prove their address first, where the peer can ask for it
    get URL... --cacert FILE [-o DIR] [--method M] [--body FILE] [--parallel N]
        prints `STATUS BYTES SHA256 URL` per URL; exit 0 if every response arrived completely

Environment: PEERS_DIR names the folder that `install` filled.
"""

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

EMPTY_SHA256 = hashlib.sha256().hexdigest()


def parse_arguments(*commands):
    """Reads the command line; `commands` are those of `serve` and `get` that the peer offers."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="command", required=True)
    if "serve" in commands:
        serve = subparsers.add_parser("serve")
        serve.add_argument("dir", type=Path)
        serve.add_argument("--listen", default="127.0.0.1:0")
        serve.add_argument("--cert", type=Path, required=True)
        serve.add_argument("--key", type=Path, required=True)
        serve.add_argument("--echo", action="store_true")
        serve.add_argument("--retry", action="store_true")
    if "get" in commands:
        get = subparsers.add_parser("get")
        get.add_argument("urls", nargs="+")
        get.add_argument("--cacert", type=Path, required=True)
        get.add_argument("-o", dest="output", type=Path)
        get.add_argument("--method", default="GET")
        get.add_argument("--body", type=Path)
        get.add_argument("--parallel", type=int, default=1)
    return parser.parse_args()


def peers_dir():
    return Path(os.environ["PEERS_DIR"])


def trixie_command(program):
    """A program of the Debian trixie tree, run with the libraries of that tree."""
    tree = peers_dir() / "trixie"
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(libraries), str(tree / "usr" / program)]


def host_and_port(listen):
    """The parts of an address, with a free port in place of port 0."""
    host, _, port = listen.rpartition(":")
    if int(port) == 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    return host, int(port)


def serve_with(command, host, port):
    """Runs a server that does not tell when it is ready; never returns."""
    server = subprocess.Popen(command, stdout=sys.stderr)
    # The server dies with its adapter.
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    while not udp_port_is_bound(port):
        if server.poll() is not None:
            sys.exit(f"the server ended at its start: {server.returncode}")
        time.sleep(0.02)
    print(f"listening on {host}:{port}", flush=True)
    sys.exit(server.wait())


def udp_port_is_bound(port):
    wanted = f":{port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            if line.split()[1].endswith(wanted):
                return True
    return False


def file_name(url):
    """The last segment of the path: the name under which a body is stored."""
    return urlsplit(url).path.rsplit("/", 1)[-1] or "index.html"


def report(status, body, url):
    print(status, len(body), hashlib.sha256(body).hexdigest(), url, flush=True)
