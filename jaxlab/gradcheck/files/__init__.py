"""`jaxlab check`: is the gradient right that somebody wrote into a file?

`command.py` is the command. `process.py` runs the file, in a process of its own (`child.py`);
`calls.py` finds out how its function is called (`roles.py`, `forms.py`, `layouts.py`),
`recognize.py` what it computes; `judge.py` compares (`by_network.py`, `by_differences.py`), and
`report.py` is what comes out.
"""
