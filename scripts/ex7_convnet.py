"""Exercise 7 as a script; takes the options of `jaxlab ex7` (see --help)."""

import sys

from jaxlab.cli import exercise_script

if __name__ == "__main__":
    sys.exit(exercise_script("ex7"))
