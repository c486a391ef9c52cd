"""`python -m minilora` is `minilora`."""

import sys

from minilora.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
