"""The parts of `make bench`. Standard library only; Benchmarks/README.md says how to read what they print."""
