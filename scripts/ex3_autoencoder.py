"""Exercise 3 as a script; takes the options of `jaxlab ex3` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex3", *sys.argv[1:]]))
