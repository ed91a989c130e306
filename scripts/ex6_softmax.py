"""Exercise 6 as a script; takes the options of `jaxlab ex6` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex6", *sys.argv[1:]]))
