"""Exercise 4 as a script; takes the options of `jaxlab ex4` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex4", *sys.argv[1:]]))
