"""The Python SDK. Its public face is the package `wardian` itself."""
