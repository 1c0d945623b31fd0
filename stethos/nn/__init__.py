"""Networks in torch: each file is one architecture, with its reference and its shapes."""
