"""What the gateway's tests stand on: merchants' APIs that misbehave on purpose, and a gateway that is
served by uvicorn in the test's own event loop, with its real Redis and Kafka."""
