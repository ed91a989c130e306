"""Exercise 2 as a script; takes the options of `jaxlab ex2` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex2", *sys.argv[1:]]))
