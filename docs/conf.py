"""How the documentation is built: `make docs`."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for docstrings.py and recipes.py

project = "Stethos"
author = "the Stethos authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "docstrings",
    "recipes",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"

html_theme = "furo"
html_title = "Stethos"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"ignore-module-all": True}  # a name is documented where it is defined
autodoc_typehints = "description"  # beside what each argument means
autodoc_typehints_description_target = "documented"
suppress_warnings = ["ref.python"]  # two modules may have a class of one name, each right in its own place
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "References"), ("Source", "References")]

# One page a module, written anew by every build from the list in api.md.
shutil.rmtree(HERE / "api", ignore_errors=True)
