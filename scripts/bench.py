"""jaxlab beside its peers; takes the options of `jaxlab bench` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
