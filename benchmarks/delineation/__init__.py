"""The network behind `signal.waves`: how it was trained."""
