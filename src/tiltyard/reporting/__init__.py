"""Reports: the terminal, tables, figures and ``report.md``."""
