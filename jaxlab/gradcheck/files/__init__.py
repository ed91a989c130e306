"""`jaxlab check`: is the gradient right that somebody wrote into a file?

`command.py` is the command. `process.py` runs the file, in a process of its own (`child.py`);
`calls.py` has the ways to call its function (`roles.py`, `forms.py`), `find.py` finds the one that
works; of classes, and of forward and backward pass apart, `assemble.py` makes one first
(`passes.py`, `written.py`). `judge.py` compares (`by_network.py`, `by_differences.py`), and
`report.py` is what comes out. `many.py` checks several files at once.
"""
