"""Exercise 1 as a script; takes the options of `jaxlab ex1` (see --help)."""

import sys

from jaxlab.cli import exercise_script

if __name__ == "__main__":
    sys.exit(exercise_script("ex1"))
