"""What other programs call, where they ask for a form of their own; none of them is imported."""
