"""Exercise 7 as a script; takes the options of `jaxlab ex7` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex7", *sys.argv[1:]]))
