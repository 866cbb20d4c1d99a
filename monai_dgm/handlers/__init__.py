"""Ignite handlers that neither MONAI nor Ignite has: collapse monitor, panels, history."""
