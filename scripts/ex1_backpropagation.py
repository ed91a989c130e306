"""Exercise 1 as a script; takes the options of `jaxlab ex1` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex1", *sys.argv[1:]]))
