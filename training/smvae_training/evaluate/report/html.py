"""One self-contained HTML file from sections; pictures are inside it, nothing is fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import jinja2
import numpy as np

from smvae_core.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """One part of a report."""

    title: str
    html: str
    """Made by the helpers below; inserted as it is."""

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def render_report(
    out: Path, *, title: str, sections: Sequence[Section], subtitle: str = ""
) -> Path:
    """Write the report and return its path."""
    loader = jinja2.PackageLoader("smvae_training", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True)
    template = environment.get_template("report.html")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, template.render(title=title, subtitle=subtitle, sections=sections))
    return out


def text_html(text: str) -> str:
    """Return paragraphs; blank lines part them."""
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n"))


def table_html(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str = "",
    marks: Sequence[Sequence[bool | None]] | None = None,
) -> str:
    """Return a table; numbers are set right, the first column is a heading.

    Args:
        header: Column titles.
        rows: Cells: text, numbers (three significant digits), or None for an empty cell.
        caption: A line above.
        marks: Per row and column True (good), False (bad) or None, shown by colour and sign.
    """
    head = "".join(f"<th>{escape(h)}</th>" for h in header)
    body = []
    for i, row in enumerate(rows):
        cells = [f"<th scope=row>{escape(cell_text(row[0]))}</th>"]
        for j, value in enumerate(row[1:], start=1):
            mark = marks[i][j] if marks is not None else None
            style = {True: " good", False: " bad", None: ""}[mark]
            kind = "text" if isinstance(value, str) else "number"
            cells.append(f'<td class="{kind}{style}">{escape(cell_text(value))}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def columns_html(
    first: str,
    rows: Mapping[str, T],
    columns: Mapping[str, Callable[[T], Any]],
    *,
    caption: str = "",
) -> str:
    """Return a table with a row for each named item, what is shown of it by column title.

    Args:
        first: Title of the column of names.
        rows: Name -> item.
        columns: Title -> cell of an item.
        caption: A line above.
    """
    cells = [[name, *(cell(item) for cell in columns.values())] for name, item in rows.items()]
    return table_html([first, *columns], cells, caption=caption)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question that a user has, answered in a sentence."""

    question: str
    text: str
    section: str = ""
    """Title of the section that shows it; '' = there is none."""


def answers_section(answers: Sequence[Answer], sections: Sequence[Section]) -> Section:
    """Return the answers, each with a link to its section where that is in the report."""
    anchors = {s.title: s.anchor for s in sections}
    rows = []
    for each in answers:
        link = ""
        if each.section in anchors:
            link = f' <a href="#{anchors[each.section]}">{escape(each.section)}</a>'
        question = f"<th scope=row>{escape(each.question)}</th>"
        rows.append(f'<tr>{question}<td class="text">{escape(each.text)}{link}</td></tr>')
    return Section("Answers", f'<div class="scroll"><table>{"".join(rows)}</table></div>')


def with_error(value: Mapping[str, Any], digits: int = 2, scale: float = 1.0) -> str:
    """Return 'mean ± standard error'; without the error where a single item leaves none."""
    mean, error = value["mean"], value["standard_error"]
    if mean is None or mean != mean:
        return "–"
    text = f"{scale * mean:.{digits}f}"
    return text if error is None or error != error else f"{text} ± {scale * error:.{digits}f}"


def percent(value: Mapping[str, Any] | float) -> str:
    """Return a share, or a mean of shares with its error, in per cent."""
    shares = value if isinstance(value, Mapping) else {"mean": value, "standard_error": None}
    return f"{with_error(shares, scale=100.0)} %"


def cell_text(value: Any) -> str:
    """Return the text of a table cell."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        if not np.isfinite(number):
            return "–"
        return f"{number:.3g}" if abs(number) < 1e4 else f"{number:.0f}"
    return str(value)


def figure_html(figure: Figure, *, caption: str = "") -> str:
    """Return a matplotlib figure as an embedded PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    return image_html(buffer.getvalue(), caption=caption)


def image_html(png: bytes, *, caption: str = "") -> str:
    """Return the content of a PNG file as an embedded image."""
    data = base64.b64encode(png).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    source = f'src="data:image/png;base64,{data}"'
    return f'<figure><img {source} alt="{escape(caption)}">{below}</figure>'
