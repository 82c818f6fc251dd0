"""Write a report as one self-contained HTML file, with the same blocks as the PDF and embedded pictures and charts."""

from functools import singledispatch
from html import escape as escaped

from reportlab.graphics import renderSVG

from crystalseg.micrographs.names import visible
from crystalseg.report.blocks import Block, Chart, Facts, Heading, Pictures, Rows, Text
from crystalseg.report.content import content
from crystalseg.report.pictures import jpeg_address
from crystalseg.report.report import Report

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1e22 }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 .8rem }
th, td { text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; padding: .15rem .5rem .15rem 0 }
small, figcaption, .small td, .small th { font-size: 85%; color: #444 }
@media (min-width: 40rem) { .across2 { columns: 2; display: block } .across2 tr { display: flex } }
.facts th { width: 27%; font-weight: normal; color: #444 }
.wide { overflow-x: auto } @media (max-width: 40rem) { .pictures { grid-template-columns: 1fr !important } }
.pictures { display: grid; gap: .6rem } figure { margin: 0 } img, svg { max-width: 100%; height: auto }
footer { border-top: 1px solid #ccc; margin-top: 2rem; font-size: 80%; color: #444; overflow-wrap: anywhere }
@media print { h2.page { break-before: page } }
"""


def escape(text: object, quote: bool = False) -> str:
    """Return text escaped for HTML."""
    return escaped(visible(text), quote=quote)


def build_html(report: Report) -> bytes:
    """Return the report as HTML bytes, UTF-8."""
    blocks = "\n".join(_set(block) for block in content(report))
    title = escape(report.title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{title}</title><style>{STYLE}</style>'
        f'<meta name="keywords" content="{report.anchor or ""}">'
        f"<body><h1>{title}</h1>\n{blocks}\n<footer>{escape(report.identity)}</footer></body></html>"
    ).encode()


@singledispatch
def _set(block: Block) -> str:
    raise TypeError(type(block))


@_set.register
def _(block: Heading) -> str:
    return f"<h2{' class=page' if block.new_page else ''}>{escape(block.text)}</h2>"


@_set.register
def _(block: Text) -> str:
    text = escape(block.text)
    return f"<p dir=auto><small>{text}</small></p>" if block.small else f"<p dir=auto>{text}</p>"


@_set.register
def _(block: Facts) -> str:
    rows = "".join(f"<tr><th>{escape(a)}</th><td dir=auto>{escape(b)}</td></tr>" for a, b in block.rows)
    return f"<table class='facts across{block.across}'>{rows}</table>"


@_set.register
def _(block: Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in block.header)
    rows = "".join(
        "<tr>" + "".join(f"<td dir=auto>{escape(cell)}</td>" for cell in row) + "</tr>" for row in block.rows
    )
    return f"<div class=wide><table{' class=small' if block.small else ''}><tr>{head}</tr>{rows}</table></div>"


@_set.register
def _(block: Pictures) -> str:
    figures = []
    for pixels, caption in block.pictures:
        tall = f' style="max-height:{block.height:.0f}mm;width:auto"' if block.height < 30 else ""
        figures.append(
            f'<figure><img alt="{escape(caption, quote=True)}" src="{jpeg_address(pixels, 88)}"{tall}>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return f'<div class=pictures style="grid-template-columns:repeat({block.across},1fr)">{"".join(figures)}</div>'


@_set.register
def _(block: Chart) -> str:
    svg = renderSVG.drawToString(block.drawing)
    return f"<div>{svg[svg.index('<svg') :]}</div>"
