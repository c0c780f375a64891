"""A bundle behind HTTP: FastAPI and uvicorn, the extra `factor-serve[http]`."""
