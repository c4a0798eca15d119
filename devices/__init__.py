"""Floor 2: device physics, converters, arrays, mapping and update schemes; a whole logical matrix on crossbars."""
