"""Registration: lay MSI over ST by landmarks, and say how far off it is."""
