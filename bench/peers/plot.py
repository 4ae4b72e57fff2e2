"""Line plots as SVG, the same bytes for the same numbers."""

import math

COLOURS = ["#0b6e4f", "#b3541e", "#33658a", "#8a4f7d", "#666666"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 80, 20, 40, 56


def ticks(largest):
    """At most six round numbers from 0 to `largest`."""
    step = 10 ** math.floor(math.log10(largest))
    for factor in (0.2, 0.5, 1, 2, 5):
        if largest / (step * factor) <= 5:
            step *= factor
            break
    return [step * i for i in range(int(largest / step) + 1)]


def shown(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def line_plot(title, x_label, y_label, series):
    """`series`: name and points `(x, y)`; x on a logarithmic axis, y from 0."""
    xs = sorted({x for _, points in series for x, _ in points})
    top = 1.08 * max(y for _, points in series for _, y in points)
    span = math.log(xs[-1] / xs[0]) or 1.0
    at_x = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / xs[0]) / span
    at_y = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    for y in ticks(top):
        out.append(
            f'<path d="M{LEFT} {at_y(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{shown(y)}</text>'
        )
    for x in xs:
        y = HEIGHT - BOTTOM + 18
        out.append(f'<text x="{at_x(x):.1f}" y="{y}" text-anchor="middle">{shown(x)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{x_label}</text>')
    out.append(
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{y_label}</text>"
    )
    for number, (name, points) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points:
            out.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>')
        y = TOP + 14 * number
        out.append(f'<text x="{LEFT + 10}" y="{y}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
