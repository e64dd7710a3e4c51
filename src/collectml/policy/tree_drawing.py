"""A strategy tree as a drawing: questions from left to right, a box a leaf, coloured by the action it prefers."""

from __future__ import annotations

import html

from .tree import Leaf, Split, StrategyTree

__all__ = ["draw"]

# Okabe and Ito's palette, the control in grey
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GREY = "#999999"
COLUMN, ROW, BOX, HEIGHT, MARGIN = 250, 82, 212, 62, 24
LONGEST = 32


def draw(tree: StrategyTree) -> str:
    """Draw a tree as SVG.

    Parameters
    ----------
    tree : StrategyTree
        The tree.

    Returns
    -------
    str
        The same tree gives the same text; it refers to nothing outside.
    """
    leaves = list(tree.leaves())
    deepest = max(len(path) for path, _ in leaves)
    everybody = max(1, sum(leaf.accounts for _, leaf in leaves))
    named = sorted({next(iter(leaf.gains)) for _, leaf in leaves} - {tree.control})
    colour = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(named)} | {tree.control: GREY}
    width, height = deepest * COLUMN + BOX + 2 * MARGIN, len(leaves) * ROW + 2 * MARGIN + 34
    shapes: list[str] = []
    row = 0

    def place(node: Split | Leaf, depth: int) -> float:
        """Draw a node and what follows it; return the height of its middle."""
        nonlocal row
        x = MARGIN + depth * COLUMN
        if isinstance(node, Leaf):
            y = MARGIN + 34 + row * ROW + HEIGHT / 2
            row += 1
            first, *others = node.gains
            lines = [
                f"{node.leaf}. {first}",
                f"then {', '.join(others)}" if others else "nothing else",
                f"{node.accounts:,} accounts ({node.accounts / everybody:.0%}), {node.gains[first]:+,.2f} {tree.currency} each",
            ]
            shapes.append(_box(x, y, lines, colour[first]))
            return y
        above, below = place(node.if_yes, depth + 1), place(node.if_no, depth + 1)
        y = (above + below) / 2
        for end, word in ((above, "yes"), (below, "no")):
            start = x + BOX
            bend = x + COLUMN - 22
            shapes.append(f'<path d="M{start} {y:g}H{bend}V{end:g}H{x + COLUMN}" fill="none" stroke="#666"/>')
            shapes.append(f'<text x="{bend + 3}" y="{end - 5:g}" fill="#444" font-size="11">{word}</text>')
        shapes.append(_box(x, y, [node.question(), f"missing: {node.missing[3:]}"], None))
        return y

    place(tree.root, 0)
    gain = tree.optimum - tree.value_control
    kept = f", {(tree.value - tree.value_control) / gain:.1%} of what the best plan gains" if gain > 0 else ""
    title = f"Strategy tree of {tree.strategy}: gives up {tree.given_up:,.0f} {tree.currency}{kept and ', keeps' + kept[1:]}"
    title += "" if tree.exact or not gain else "; the search was cut off"
    words = "; ".join(f"{r.rule}: {r.first}" for r in tree.frame().itertuples())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-family="sans-serif" font-size="12.5"><title>{html.escape(title)}</title><desc>{html.escape(words)}</desc>'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="15" font-weight="bold">{html.escape(title)}</text>'
        f"{''.join(shapes)}</svg>\n"
    )


def _box(x: float, middle: float, lines: list[str], colour: str | None) -> str:
    """Draw lines of text in a box, the first of them bold."""
    top = middle - HEIGHT / 2
    stripe = f'<rect x="{x}" y="{top:g}" width="7" height="{HEIGHT}" fill="{colour}"/>' if colour else ""
    fill, edge = ("#ffffff", "#999") if colour else ("#f2f2f2", "#444")
    text = "".join(
        f'<text x="{x + 14}" y="{top + 19 + 17 * i:g}"{_weight(i)}>{html.escape(_short(line))}</text>'
        for i, line in enumerate(lines)
    )
    box = f'<rect x="{x}" y="{top:g}" width="{BOX}" height="{HEIGHT}" rx="4" fill="{fill}" stroke="{edge}"/>'
    return box + stripe + text


def _weight(line: int) -> str:
    return ' font-weight="bold"' if line == 0 else ' fill="#444" font-size="11"'


def _short(line: str) -> str:
    return line if len(line) <= LONGEST + 8 else line[: LONGEST + 7] + "…"
