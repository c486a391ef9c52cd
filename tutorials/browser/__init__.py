"""The course in a browser: NumPy, minilora and the lessons in Pyodide, as a static site.  See README.md."""
