"""Write the tables and figures of the presets: the generated part of docs/devices.md, and docs/devices/NAME.png.

python experiments/device_library.py [--out docs] [--seed 0] [--table-only]
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image

from analogpc.devices.device import Device
from analogpc.devices.device_numbers import device_numbers
from analogpc.devices.presets import PRESETS
from analogpc.devices.responses import PulseResponse
from analogpc.report.device_table import cells
from analogpc.report.devices import draw_device

PAGE = Path(__file__).parents[1] / "docs" / "devices.md"
BEGIN = "<!-- begin: written by experiments/device_library.py -->"
END = "<!-- end: written by experiments/device_library.py -->"
COLOURS = 255

LEARNING = {
    "states": "states",
    "pulses": "pulses",
    "asymmetry": "asymmetry",
    "symmetry point": "symmetry point",
    "d2d": "d2d",
    "c2c": "c2c",
    "write": "write noise",
    "drift": "drift",
    "µS": "window (µS)",
}
INFERENCE = {
    "states": "levels",
    "write": "programming noise",
    "read": "read noise",
    "slow": "1/f noise",
    "drift": "drift",
    "µS": "window (µS)",
}


def table(devices: list[Device], columns: dict[str, str]) -> str:
    """Return a Markdown table of devices; ``columns`` maps the fields of a device to column headings."""
    lines = ["| name | response | " + " | ".join(columns.values()) + " |"]
    lines.append("|---|---|" + "---:|" * len(columns))
    for device in devices:
        numbers = cells(device_numbers(device))
        lines.append(
            f"| [{device.name}](#{device.name}) | {numbers['response']} | " + " | ".join(numbers[key] for key in columns) + " |"
        )
    return "\n".join(lines)


def generated() -> str:
    """Return the tables, sources and figures of all presets as Markdown."""
    learning = [device for device in PRESETS.values() if isinstance(device.response, PulseResponse)]
    others = [device for device in PRESETS.values() if not isinstance(device.response, PulseResponse)]
    parts = ["### Devices that learn", table(learning, LEARNING), "### Devices that are programmed", table(others, INFERENCE)]
    parts.append("## Sources and pictures")
    for device in PRESETS.values():
        parts += [
            f"### {device.name}",
            device.source,
            f"![{device.name}: see above for the panels](devices/{device.name}.png)",
        ]
    return "\n\n".join(parts)


def page(text: str) -> str:
    """Return the page with its generated part replaced.

    Raises
    ------
    ValueError
        If a marker line is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{generated()}\n\n{END}{after}"


def draw(device: Device, path: Path, seed: int) -> None:
    """Return the figure of a device as a PNG with a palette, which is a third of the size."""
    whole = BytesIO()
    draw_device(device, seed).savefig(whole, format="png", dpi=100)
    image = Image.open(whole).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def main() -> None:
    """Write the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE.parent)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table-only", action="store_true", help="do not redraw the figures")
    arguments = parser.parse_args()
    pictures = arguments.out / "devices"
    pictures.mkdir(parents=True, exist_ok=True)
    text = page(PAGE.read_text(encoding="utf-8"))
    (arguments.out / PAGE.name).write_text(text, encoding="utf-8")
    for device in PRESETS.values():
        if not arguments.table_only:
            draw(device, pictures / f"{device.name}.png", arguments.seed)


if __name__ == "__main__":
    main()
