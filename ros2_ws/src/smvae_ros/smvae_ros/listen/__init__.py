"""From topics to the engine: subscriptions, the thread that waits for them, the lock around it."""
