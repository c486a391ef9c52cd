"""`python -m minilora` is `minilora`."""

import sys

from minilora.cli import main

if __name__ == "__main__":
    sys.exit(main())
