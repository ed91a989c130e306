"""The written report: every answer, plot and listing that the lab sheet asks for, as one PDF.

`content.py` says what stands in it, exercise by exercise, from the saved results alone;
`typst/lab3.typ` how it looks; `document.py` puts both together. `command.py` is `jaxlab report`.
"""
