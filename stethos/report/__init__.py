"""Figures, tables and one self-contained page for people; no file but the page is written."""
