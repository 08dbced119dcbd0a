"""The process that delivers callbacks, so that the master never waits for a receiver."""
