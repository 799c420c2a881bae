"""Inline SVG, drawn by us: no library, no script, colours by CSS class so that light and dark are one drawing."""
