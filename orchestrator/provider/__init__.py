"""The Message Batches API over the official SDK: the only place that knows the SDK and tenacity."""
