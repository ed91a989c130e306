"""jaxlab beside what people would use instead: the same work, in the same run, taking turns.

`timing.py` measures, one file a kind of work says what is measured, `command.py` is `jaxlab bench`.
"""
