"""The whole lab as one PDF; takes the options of `jaxlab report` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
