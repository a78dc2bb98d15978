"""The docks: a view that lays out, a controller that talks to state and jobs."""
