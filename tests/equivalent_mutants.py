"""Mutants that no test can or should tell from the source: (file, line, change) → the reason."""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
