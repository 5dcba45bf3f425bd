"""Reports of measurements: tables, HTML pages and SVG plots. Knows nothing of what is measured."""
