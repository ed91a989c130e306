"""Exercise 2 as a script; takes the options of `jaxlab ex2` (see --help)."""

import sys

from jaxlab.cli import exercise_script

if __name__ == "__main__":
    sys.exit(exercise_script("ex2"))
