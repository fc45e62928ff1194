"""Report pages as self-contained HTML, made of plain values: counts, images, tables, settings."""
