"""What the site's pages run in Pyodide.  Each page calls functions of one module here; see `pages/python.mjs`."""
