"""Benchmarks: graphc beside NumPy, PyTorch, JAX and PyTensor.  `python -m bench --help`."""
