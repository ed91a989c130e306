"""Exercise 5 as a script; takes the options of `jaxlab ex5` (see --help)."""

import sys

from jaxlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["ex5", *sys.argv[1:]]))
