"""Reading .csv: an image in each line, its label in the first or the last column."""

import csv
from pathlib import Path

import numpy as np

from jaxlab.data.naming import Pair, is_labels_name
from jaxlab.data.stored import Stored, reading, refuse_larger
from jaxlab.errors import DataError

KIND = "a .csv file"
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
# A label and 28 × 28 or 20 × 20 pixels.
COLUMNS = (785, 401)
# 70,000 images take 130 MB as text. The values become float32, which holds 0..255 exactly.
LARGEST = 256 * 2**20
LONGEST_LINE = 100_000


def read_pair(path: Path, label_column: str | None) -> tuple[Pair, str]:
    """The images (m, pixels) and labels (m,) in the .csv file `path`, both float32.

    Args:
        path: the file.
        label_column: "first", "last", or a name in the header line; None finds it.

    Returns:
        The pair, and how the table was read, in words.

    Raises:
        DataError: not a table of numbers with 785 or 401 columns, or no column of labels.
    """
    refuse_larger(path.stat().st_size, "text", LARGEST)
    with reading(KIND), path.open(encoding="utf-8-sig") as file:
        first = file.readline(LONGEST_LINE)
        delimiter = max(DELIMITERS, key=first.count)
        cells = _cells(first, delimiter)
        header = cells if _is_header(cells) else None
        if header is None:
            file.seek(0)
        try:
            table = np.loadtxt(
                file, np.float32, delimiter=delimiter, comments=None, quotechar='"', ndmin=2
            )
        except ValueError as error:
            raise DataError(_first_fault(path, delimiter, cells, header) or str(error)) from error
    if table.shape[1] != len(cells):
        raise DataError("below its header line there are no images with as many columns")
    column = _label_column(table, header, label_column)
    understood = (
        f"{len(table):,} lines {'below' if header else 'without'} a header line, labels in column "
        f"{column + 1} of {len(cells)}, {DELIMITERS[delimiter]} between the columns"
    )
    images, labels = np.delete(table, column, axis=1), table[:, column]
    return Pair("", _stored("pixels", images), _stored("labels", labels)), understood


def _stored(name: str, array: np.ndarray) -> Stored:
    return Stored(name, array.shape, str(array.dtype), array.nbytes, lambda: array)


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of the first line; refuses a line that cannot belong to a table of digits."""
    cells = next(csv.reader([line], delimiter=delimiter), [])
    if len(cells) not in COLUMNS:
        raise DataError(
            f"its first line has {len(cells)} columns: {COLUMNS[0]} (a label and 28 × 28 pixels) "
            f"or {COLUMNS[1]} (a label and 20 × 20) are needed, with comma, semicolon or tab "
            "between them"
        )
    return [cell.strip() for cell in cells]


def _is_header(cells: list[str]) -> bool:
    """Whether a first line names the columns, rather than being an image with a bad cell."""
    texts = [cell for cell in cells if not _is_number(cell)]
    named = is_labels_name(cells[0]) or is_labels_name(cells[-1])
    return len(texts) == len(cells) or (bool(texts) and named)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_fault(
    path: Path, delimiter: str, first: list[str], header: list[str] | None
) -> str | None:
    """Where the table breaks off, in words that NumPy's message lacks."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter)
        if header:
            next(lines)
        for cells in lines:
            if cells and len(cells) != len(first):
                return f"line {lines.line_num} has {len(cells)} columns, the first {len(first)}"
            for column, cell in enumerate(cells, start=1):
                if not _is_number(cell):
                    return f"line {lines.line_num}, column {column}: {cell[:30]!r} is no number"
    return None


def _label_column(table: np.ndarray, header: list[str] | None, wanted: str | None) -> int:
    """Which column holds the labels: as named, as the header says, or as the values show."""
    last = table.shape[1] - 1
    names = header or []
    if wanted is not None:
        places = {"first": 0, "last": last} | {name: i for i, name in enumerate(names)}
        if wanted not in places:
            raise DataError(
                f"no column is called {wanted!r}: give --labels first, --labels last, or a name "
                "from the header line"
            )
        return places[wanted]
    candidates = [i for i in (0, last) if names and is_labels_name(names[i])]
    candidates = candidates or [i for i in (0, last) if _may_be_labels(table[:, i])]
    if len(candidates) == 1:
        return candidates[0]
    ends = [f"{table[:, i].min():g} to {table[:, i].max():g}" for i in (0, last)]
    found = "both may be" if candidates else "neither is"
    raise DataError(
        f"labels are whole numbers from 0 to 10 in the first or the last column, and {found} "
        f"(first {ends[0]}, last {ends[1]}): give --labels first or --labels last"
    )


def _may_be_labels(column: np.ndarray) -> bool:
    """Whether a column holds several whole numbers 0..10; a corner pixel is always the same."""
    whole = np.isin(column, np.arange(11)).all()
    return bool(whole and column.min() < column.max())
