"""Configuration of the documentation site. `scripts/docs` builds it."""

project = "GoodSpeed"
author = "The GoodSpeed authors"
project_copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["reference/generated"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links to headings work as they do on GitHub
nitpicky = True

html_theme = "furo"
html_title = "GoodSpeed"
html_copy_source = False
html_show_copyright = False
