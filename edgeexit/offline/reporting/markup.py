"""HTML pieces of the report: all text is escaped here, and nothing refers to anything outside the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape as _escape_characters
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a1c1f; --muted: #5a6169; --line: #d5d9de; --paper: #ffffff;
  --panel: #f5f6f8; --yes: #14713d; --hardly: #8a5300; --no: #b3261e; --asked: #5a6169; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --muted: #a3abb5; --line: #3a4048; --paper: #15181c;
  --panel: #1e2228; --yes: #5fd08f; --hardly: #f0b255; --no: #ff8a80; --asked: #a3abb5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.35rem; margin-top: 2.5rem; }
h3 { font-size: 1.1rem; margin: 2rem 0 0.5rem; } p { max-width: 46rem; }
.note, figcaption, caption { color: var(--muted); font-size: 0.9rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; } figure svg { display: block; width: 100%; height: auto; max-width: 40rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
.answer { background: var(--panel); border-left: 0.35rem solid var(--asked); padding: 0.75rem 1rem; }
.answer h4 { margin: 0 0 0.4rem; font-size: 1rem; } .answer p { margin: 0.4rem 0; font-size: 0.95rem; }
.yes { border-color: var(--yes); } .hardly { border-color: var(--hardly); } .no { border-color: var(--no); }
b.yes { color: var(--yes); } b.hardly { color: var(--hardly); }
b.no { color: var(--no); } b.asked { color: var(--asked); }
.scroll { overflow-x: auto; margin: 0.75rem 0; } table { border-collapse: collapse; font-size: 0.9rem; }
caption { text-align: left; padding-bottom: 0.3rem; max-width: calc(100vw - 2rem); }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; } tbody th, thead th:first-child { text-align: left; } td { font-variant-numeric: tabular-nums; }
td.words, .words th { text-align: left; } .nowrap td, .nowrap th { white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; } dt { color: var(--muted); }
dd { margin: 0; min-width: 0; } code { font-size: 0.9em; overflow-wrap: anywhere; }
details { margin: 1rem 0; } summary { cursor: pointer; } a { color: inherit; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 0.4rem; } }
@media print { .scroll { overflow: visible; } }
""".strip()

_UNIT: Final = re.compile(r"(?<=\d) (%|mJ|uJ|J|ms|MHz|x)(?!\w)")


def escape(text: str) -> str:
    """Return text as HTML; a figure and its unit stay in one line."""
    return _UNIT.sub("\u00a0\\1", _escape_characters(text))


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole page.

    Args:
        title: As text.
        body: HTML pieces.
    """
    content = "\n".join(body)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        f"<body>\n{content}\n</body>\n</html>\n"
    )


def heading(level: int, text: str) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, *, note: bool = False) -> str:
    """Return a paragraph, `note` in small print."""
    kind = ' class="note"' if note else ""
    return f"<p{kind}>{escape(text)}</p>"


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Return a list of terms and what they stand for."""
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{escape(text)}</dd>' for term, text in rows)}</dl>"


def table(caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> str:
    """Return a table; the first cell of each row is its header.

    Args:
        caption: What it shows.
        headers: One a column.
        rows: As many cells as headers each.
        words: True if the cells hold sentences, which may be broken; figures are not.
    """
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    cell = '<td class="words">' if words else "<td>"
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"{cell}{escape(text)}</td>" for text in row[1:])}</tr>\n'
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">'
        f'<table class="{"words" if words else "nowrap"}"><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def picture(svg: str, description: str, caption: str) -> str:
    """Return a picture.

    Args:
        svg: An SVG element of our own making, which is taken as it is.
        description: What it shows, for who does not see it.
        caption: Below it.
    """
    return (
        f'<figure><div role="img" aria-label="{escape(description)}">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def pictures(figures: Sequence[str]) -> str:
    """Return pictures side by side, as many as there is room for."""
    return f'<div class="plots">{"".join(figures)}</div>'


def folded(summary: str, content: str) -> str:
    """Return content that is shown when asked for."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def section(content: Sequence[str]) -> str:
    """Return a section."""
    return "<section>\n" + "\n".join(content) + "\n</section>"


def answer(kind: str, question: str, word: str, sentences: Sequence[str]) -> str:
    """Return the answer to a question, its word in front.

    Args:
        kind: How it is coloured: "yes", "hardly", "no" or "asked".
        question: What was asked.
        word: The answer in a word or two.
        sentences: What says so.
    """
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return (
        f'<div class="answer {escape(kind)}"><h4>{escape(question)} <b class="{escape(kind)}">{escape(word)}</b></h4>'
        f"{said}</div>"
    )


def answers(boxes: Sequence[str]) -> str:
    """Return answers side by side, as many as there is room for."""
    return f'<div class="answers">{"".join(boxes)}</div>'
