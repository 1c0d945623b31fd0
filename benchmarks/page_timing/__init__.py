"""How long the page takes in a browser."""
