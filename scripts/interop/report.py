"""Markdown tables, and the count of the cells that failed."""


def table(headers, rows):
    lines = [headers, ["---"] * len(headers), *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def failures(rows):
    """The failed cells as lines of text; the first cell of a row names it."""
    return [f"{row[0]}: {cell.text}" for row in rows for cell in row[1:] if getattr(cell, "passed", None) is False]


def headers(columns):
    """Each column twice, float and int8."""
    return [f"{column}, {kind}" for column in columns for kind in ("float", "int8")]
