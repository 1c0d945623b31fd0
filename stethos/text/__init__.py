"""Words about patients: clinical text in, numbers and labels out. No torch, no network."""
