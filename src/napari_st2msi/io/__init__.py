"""Files to `Section` and back."""
