"""Lay MSI over ST: landmarks, transforms, errors, persistence."""
