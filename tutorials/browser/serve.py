"""Serves a built site on this computer.

python -m tutorials.browser.serve site --port 8000
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Files with the types that browsers insist on, whatever this computer's own table of types says."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
        ".ipynb": "application/json",
        ".css": "text/css",
        ".svg": "image/svg+xml",
    }

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # a site that was built again is seen at once
        super().end_headers()


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the folder on this computer alone; port 0 takes a free one.  ValueError if there is no site."""
    if not (folder / "index.html").exists():
        raise ValueError(f"{folder} is not a built site: python -m tutorials.browser.build --out {folder}")
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, nargs="?", default=Path("site"))
    parser.add_argument("--port", type=int, default=8000)
    a = parser.parse_args()
    try:
        with server(a.site, a.port) as running:
            print(f"http://127.0.0.1:{running.server_port}/   Ctrl-C stops", flush=True)
            running.serve_forever()
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
